"""The gRPC contract of Perdure, as generated code beside its sources."""
