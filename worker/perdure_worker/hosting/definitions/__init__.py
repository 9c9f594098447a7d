"""Definitions of hosted Lambda handlers: the functions file, SAM templates, variables."""
