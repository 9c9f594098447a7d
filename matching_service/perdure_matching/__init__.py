"""Matching service: hands replay tasks to workers with free slots."""
