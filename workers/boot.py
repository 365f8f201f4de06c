"""What a worker looks at before it starts: better a sentence now than rows that wait."""

from __future__ import annotations

import sys
from typing import Any

from celery.signals import worker_init

from orchestrator.errors import OrchestratorError
from orchestrator.runtime import check_servers
from orchestrator.settings import load_settings


@worker_init.connect
def _look(**_: Any) -> None:
    """In the pool's main process, which keeps nothing open: its children are forked from it.

    Raises SystemExit with a short message where the servers will not do.
    """
    try:
        for finding in check_servers(load_settings()):
            print(f"warning: {finding.found}\n  {finding.mend}", file=sys.stderr, flush=True)
    except OrchestratorError as error:
        print(f"error: {error.message}\n  {error.mend}", file=sys.stderr, flush=True)
        raise SystemExit(error.exit_code) from None
