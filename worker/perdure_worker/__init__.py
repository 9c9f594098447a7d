"""The worker: takes invocations from a server, runs handlers in threads, records what they did.

`runner` is the way in; `modules` finds the functions to serve. Nothing is imported here.
"""
