"""The state of one running invocation: recorded operations, checkpoints, fibers, scopes."""
