"""What a worker looks at before it starts: better a sentence now than rows that wait."""

from __future__ import annotations

import sys
import time
from typing import Any

from celery.signals import worker_init

from orchestrator.domain.findings import Finding
from orchestrator.errors import OrchestratorError, ServiceError
from orchestrator.runtime import check_servers
from orchestrator.settings import load_settings

PATIENCE_SECONDS = 20.0
"""What is started together with its servers, or in the middle of a failover, waits this long."""
_AGAIN_SECONDS = 1.0


@worker_init.connect
def _look(**_: Any) -> None:
    """In the pool's main process, which keeps nothing open: its children are forked from it.

    Raises SystemExit with a short message where the servers will not do.
    """
    try:
        for finding in _patiently():
            _tell("warning", finding.found, finding.mend or "")
    except OrchestratorError as error:
        _tell("error", error.message, error.mend)
        raise SystemExit(error.exit_code) from None


def _patiently() -> list[Finding]:
    """What is out of reach may come; what will not do is refused at once."""
    settings = load_settings()
    deadline = time.monotonic() + PATIENCE_SECONDS
    waiting = False
    while True:
        try:
            return check_servers(settings)
        except ServiceError as error:
            if time.monotonic() > deadline:
                raise
            if not waiting:
                _tell("waiting", error.message, f"for {PATIENCE_SECONDS:.0f} s")
            waiting = True
            time.sleep(_AGAIN_SECONDS)


def _tell(kind: str, sentence: str, more: str) -> None:
    print(f"{kind}: {sentence}\n  {more}", file=sys.stderr, flush=True)
