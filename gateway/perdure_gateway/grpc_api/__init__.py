"""The public gRPC services, their port, and what stands before each call."""
