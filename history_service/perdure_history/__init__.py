"""The history service: owns executions.

Load, decide, commit in groups, answer; wake what is due.
"""
