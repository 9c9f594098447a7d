"""The matching service: brings replay tasks and free worker slots together."""
