"""The Lambda API over HTTP: clients of AWS, boto3 first among them, talk to us unchanged.

It is the twin of the gRPC services: it reads requests, calls the same ports of history, and answers
in the words of the Lambda API model (2015-03-31). It decides nothing about executions.
"""
