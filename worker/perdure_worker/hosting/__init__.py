"""Hosts handlers that were written for AWS Lambda, each in processes of its own.

`functions_file.py` and `sam.py` say which there are, `pool.py` keeps their processes, `child.py`
runs in them, and `endpoint.py` is what their AWS SDK takes for the Lambda API.
"""
