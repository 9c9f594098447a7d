"""Admission of calls: readiness of the node, memory budget, checks of requests."""
