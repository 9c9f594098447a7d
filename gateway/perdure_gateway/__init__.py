"""The public ports of a server: gRPC, HTTP for metrics and the Lambda API, tokens and TLS.

The gateway authenticates callers, checks requests, calls the ports of history and matching, and
renders the answers as each API defines them. It decides nothing about executions.
"""
