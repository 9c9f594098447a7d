"""Connected workers: their registry, the dispatch of invocations, and their calls."""
