"""`python -m orchestrator.sandbox`: the same as `orchestrator sandbox serve`."""

from __future__ import annotations

import sys

from orchestrator.sandbox.command import app

if __name__ == "__main__":
    app(["serve", *sys.argv[1:]])
