"""The HTTP port below its server: who may call, and how long connections may take."""
