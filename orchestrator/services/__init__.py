"""The verbs: what is done to batches, each in a module of its own."""
