"""The half of Perdure that touches the world: network, clock, chance, SQL, settings, telemetry.

Nothing is imported here, so that a client or a worker loads only what it uses.
"""
