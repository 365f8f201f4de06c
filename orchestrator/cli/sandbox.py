"""sandbox: the local MindVideo API; the only door of the program to it."""

from orchestrator.sandbox.command import app

__all__ = ["app"]
