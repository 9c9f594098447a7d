"""Views of executions for clients: state and events as messages, with large payloads loaded."""
