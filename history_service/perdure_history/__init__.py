"""History service: owns executions.

It loads them, decides commands, commits in groups, answers, and fires what is due.
"""
