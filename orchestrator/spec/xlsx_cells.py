"""A workbook's cells as lines of JSON, in a process of its own.

The reader of workbooks is native code, and a damaged file can make it abort or ask for all memory
there is: here that ends this process and no other.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from pathlib import Path

MAX_MEMORY = 2 * 1024 * 1024 * 1024
_EXACT = 10**15


def lines(path: Path) -> Iterator[object]:
    """The sheets' names, the first one's first row and column (from 0), then its rows."""
    import python_calamine

    book = python_calamine.load_workbook(path)
    yield book.sheet_names
    sheet = book.get_sheet_by_index(0)
    yield sheet.start or (0, 0)
    for row in sheet.to_python(skip_empty_area=True):
        yield [_text(cell) for cell in row]


def main() -> None:
    """Write them to standard output; whatever goes wrong ends it with another code than 0."""
    with suppress(ValueError, OSError):  # not every system has this limit
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in lines(Path(sys.argv[1])):
        sys.stdout.write(json.dumps(line) + "\n")


def _text(value: str | float | bool | time | date | datetime | timedelta) -> str:
    """A cell as the CSV that Excel would save has it."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | float():
            return _number_text(float(value))
        case timedelta():
            minutes = round(value.total_seconds() / 60)
            return f"{minutes // 60}:{minutes % 60:02}"
        case time():
            return value.strftime("%H:%M:%S" if value.second else "%H:%M")
        case datetime() | date():
            return value.isoformat()
        case _:
            return value


def _number_text(value: float) -> str:
    """Excel keeps 15 digits: a longer number is shown as one whose digits are lost."""
    if abs(value) >= _EXACT:
        return f"{value:.14E}"
    return f"{int(value)}" if value.is_integer() else f"{value:.15g}"


if __name__ == "__main__":
    main()
