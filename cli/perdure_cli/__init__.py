"""The `perdure` command: tables and timelines for people, JSON and exit codes for programs.

Client commands import neither the server's nor the worker's libraries; whoever needs those
imports them when the command runs.
"""
