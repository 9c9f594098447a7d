"""Keeps a worker alive for its server while a handler holds the interpreter."""
