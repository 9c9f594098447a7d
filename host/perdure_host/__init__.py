"""Everything that does I/O: network, clock, SQL, settings, telemetry, and the ports to it.

Nothing is imported here, so that a client or a worker loads only what it uses.
"""
