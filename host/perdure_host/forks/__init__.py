"""Connections of processes that were forked.

gRPC's threads and locks do not come over a fork: in the child, a channel hangs if its parent has
used gRPC. Such a child gets a process of its own for its calls, which is started afresh.
"""
