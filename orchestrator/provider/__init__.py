"""The MindVideo HTTP API: one exchange in, one outcome out (docs/provider.md)."""

from orchestrator.provider.client import ProviderClient, Timeouts
from orchestrator.provider.video import VideoClient

__all__ = ["ProviderClient", "Timeouts", "VideoClient"]
