"""JSON of the Lambda API: between the gateway and clients, and between workers and their handlers.

Nothing here uses HTTP; names and shapes are those of the service model.
"""
