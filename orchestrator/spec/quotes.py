"""Where a quote opened that was never closed rightly."""

from __future__ import annotations

import re
from collections.abc import Iterable


def opening_line(lines: Iterable[str], first: int, delimiter: str) -> int:
    """The line in which the quote opened that the text breaks on; `first` numbers `lines`.

    `lines` begin with a row and keep their ends. The text breaks where a closing quote is followed
    by anything but a delimiter or a line's end, or where it ends inside quotes.
    """
    opens = re.compile(f'(?:^|{re.escape(delimiter)})"')
    opened = first
    quoted = False
    for number, line in enumerate(lines, start=first):
        at = 0
        while True:
            if not quoted:
                quote = opens.search(line, at)
                if quote is None:
                    break
                quoted, opened, at = True, number, quote.end()
            closing = _CLOSING.match(line, at)
            if closing is None:
                break
            if line[closing.end() : closing.end() + 1] not in {delimiter, "\r", "\n", ""}:
                return opened
            quoted, at = False, closing.end()
    return opened


_CLOSING = re.compile(r'[^"]*+(?:""[^"]*+)*+"')
