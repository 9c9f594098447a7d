"""The session of a worker: its stream to the server, replies, reconnecting."""
