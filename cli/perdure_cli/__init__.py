"""The `perdure` command: tables and timelines for people, JSON and exit codes for programs.

Client commands import neither the server's nor the worker's libraries; commands that need those
import them when they run.
"""

import os

# gRPC reads this when it is loaded. Its fork handlers crash the child while calls are in flight,
# and a worker's steps may start programs; a forked child does not need our connections.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
