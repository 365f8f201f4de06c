"""Ways to tell the outside of an event: a signed webhook, or a command to run."""

from orchestrator.notify.command import Command
from orchestrator.notify.webhook import Webhook

__all__ = ["Command", "Webhook"]
