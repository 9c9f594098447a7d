"""Settings that users choose: of operations, retries, polling and functions."""
