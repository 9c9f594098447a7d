"""The `perdure` command: tables and timelines for people, JSON and exit codes for programs.

Client commands import neither the server's nor the worker's libraries; whoever needs those
imports them when the command runs.
"""

import os

# gRPC reads this when it is loaded. Its own handlers of fork crash the child while calls are under
# way, and a worker's steps may start programs; a forked child has no use for our connections.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
