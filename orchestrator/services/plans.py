"""The plans of when to ask, as one process remembers them."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.domain.cadence import Plan, plan_from_json
from orchestrator.services.context import Context
from orchestrator.store import sketches

FRESH_SECONDS = 5.0


class Plans:
    """Read again when they may be old, and only those that changed."""

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}
        self._versions: dict[str, int] = {}
        self._read_at: float | None = None

    def current(self, context: Context, monotonic: float) -> Mapping[str, Plan]:
        """Price class -> plan; a class without one has none yet."""
        if self._read_at is not None and monotonic - self._read_at < FRESH_SECONDS:
            return self._plans
        with context.store.read() as tx:
            versions = sketches.versions(tx, context.provider)
            changed = [name for name in versions if versions[name] != self._versions.get(name)]
            found = sketches.plans(tx, context.provider, changed) if changed else {}
        plans = dict(self._plans)
        for name in changed:
            plans.pop(name, None)
            if (plan := _readable(found.get(name, "null"))) is not None:
                plans[name] = plan
        # Put in place whole: another thread may be reading.
        self._plans, self._versions, self._read_at = plans, versions, monotonic
        return plans


def _readable(text: str) -> Plan | None:
    """A plan is only a saving: one that cannot be read is as good as none."""
    try:
        return plan_from_json(text)
    except ValueError:
        return None
