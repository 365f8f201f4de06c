"""One set of processes for everybody who runs something here: broker, workers, beat, Flower.

A supervisor process owns them. Commands that need them connect to its socket and stay connected;
when the last one leaves, however it ended, the supervisor stops everything and goes.
"""

from orchestrator.supervisor.client import Session, connect

__all__ = ["Session", "connect"]
