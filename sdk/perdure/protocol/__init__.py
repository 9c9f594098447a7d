"""What passes between a worker and the SDK: invocations, checkpoints, outcomes. No behaviour."""
