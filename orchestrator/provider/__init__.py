"""The MindVideo HTTP API: one exchange in, one outcome out (docs/provider.md)."""

from orchestrator.provider.client import ProviderClient, Timeouts

__all__ = ["ProviderClient", "Timeouts"]
