"""The public gRPC services, their port and their interceptors."""
