"""The `orchestrator` command: every error a person can meet ends here as a sentence and a code."""

from __future__ import annotations

import gc
import os
import sys

from orchestrator import imports


def main() -> None:
    """Run the command line and exit with the contract's code."""
    # Imports make objects that stay: looking through them again and again, and once more at the
    # end, is a third of a short command's time.
    gc.set_threshold(100_000)
    imports.spare()
    from orchestrator.cli.app import invoke

    try:
        code = invoke(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; what is left in the buffer must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
