"""Plugins of user code: the hooks, how plugins are loaded, and when each hook is called."""
