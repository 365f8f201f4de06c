"""What libraries import on the side and nothing here has any use for."""

from __future__ import annotations

import sys

UNUSED = (
    "opentelemetry.sdk.metrics",  # redis, wherever it is installed: an eighth of a second
    "httpx._main",  # its command line, wherever rich is installed: a twelfth
)


def spare() -> None:
    """Have these imports fail, which their importers allow for. Call it before anything else."""
    for name in UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
