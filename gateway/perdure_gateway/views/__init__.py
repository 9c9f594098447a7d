"""What clients see of executions: state and events as messages, large payloads loaded."""
