"""The `perdure` command: tables and timelines for people, JSON and exit codes for programs.

Client commands import neither the server's nor the worker's libraries; commands that need those
import them when they run.
"""

import os

# gRPC reads these when it is loaded. Its fork handlers crash the child while calls are in flight,
# and a worker's steps may start programs; a forked child does not need our connections. What it
# writes to the terminal is about its own code; the command says in its own words what went wrong.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
