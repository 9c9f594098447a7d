"""The JSON of the Lambda API: the gateway speaks it with clients, workers with their handlers.

Nothing here knows HTTP or serves anything; words and shapes are those of the service model.
"""
