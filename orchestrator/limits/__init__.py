"""The fleet-wide limit on what is sent, kept where every worker sees it."""

from orchestrator.limits.limiter import Closed, Granted, RateLimiter, Wait

__all__ = ["Closed", "Granted", "RateLimiter", "Wait"]
