"""What users can configure: operations, retries, polling, functions."""
