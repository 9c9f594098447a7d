"""The Lambda API over HTTP: AWS clients such as boto3 work with Perdure unchanged.

It does what the gRPC services do: it reads requests, calls the same ports of history, and answers
as the Lambda API model (2015-03-31) defines. It decides nothing about executions.
"""
