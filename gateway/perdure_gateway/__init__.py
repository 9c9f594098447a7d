"""The door of a server: public gRPC, HTTP for machines that look after it, tokens and TLS.

The gateway checks who asks and what is asked, calls the ports of history and matching, and says the
answer in the words of the contract. It decides nothing about executions.
"""
