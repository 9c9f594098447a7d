"""Durable functions that you host."""
