"""Hosting of handlers that were written for AWS Lambda, each in processes of its own.

`definitions` reads which there are, `processes` keeps and runs them, `api` is what their AWS SDK
takes for the Lambda API, and `function.py` is such a handler as the worker sees it.
"""
