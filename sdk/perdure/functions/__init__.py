"""Durable and plain functions, and one invocation of each."""
