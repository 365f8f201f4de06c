"""Batches of paid, asynchronous video generation: every video, once, at a known price."""

__version__ = "0.1.0"
