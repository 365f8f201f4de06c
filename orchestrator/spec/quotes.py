"""Where a quote opened that was never closed rightly."""

from __future__ import annotations

from collections.abc import Iterable


def opening_line(lines: Iterable[str], first: int, delimiter: str) -> int:
    """The line in which the quote opened that the text breaks on; `first` numbers `lines`.

    `lines` begin with a row and keep their ends. The text breaks where a closing quote is followed
    by anything but a delimiter or a line's end, or where it ends inside quotes.
    """
    opened = first
    quoted = False
    for number, line in enumerate(lines, start=first):
        at_start = not quoted
        at = 0
        while at < len(line):
            char = line[at]
            if quoted and char == '"':
                following = line[at + 1 : at + 2]
                if following == '"':
                    at += 1
                elif following in {delimiter, "\r", "\n", ""}:
                    quoted = False
                else:
                    return opened
            elif not quoted and char == '"' and at_start:
                quoted, opened = True, number
            at_start = char == delimiter
            at += 1
    return opened
