"""A workbook's cells as lines of JSON, in a process of its own.

The reader of workbooks is native code, and a damaged file can make it abort or ask for all memory
there is: here that ends this process and no other.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from pathlib import Path
from xml.etree import ElementTree

MAX_MEMORY = 2 * 1024 * 1024 * 1024
_EXACT = 10**15
CHUNK = 1 << 20
_CELL_END = b"</c>"
_ERROR = re.compile(
    rb"""(<c\s(?=[^<>]*\bt=["']e["'])[^<>]*>)\s*(?:<f[^<]*(?:</f>)?\s*)?<v>([^<]*)<"""
)
PLACE = re.compile(rb"""\sr=["']([A-Z]{1,3})([0-9]{1,7})["']""")
"""Where a cell is: its column's letters and its row."""


def lines(path: Path) -> Iterator[object]:
    """The sheets' names, the first one's first row and column (from 0), its errors, its rows."""
    import python_calamine

    book = python_calamine.load_workbook(path)
    yield book.sheet_names
    sheet = book.get_sheet_by_index(0)
    yield sheet.start or (0, 0)
    yield list(errors(path))
    for row in sheet.to_python(skip_empty_area=True):
        yield [_text(cell) for cell in row]


def errors(path: Path) -> Iterator[tuple[int, str, str]]:
    """(row, column's letters, text such as #N/A) of the first sheet, empty to the reader."""
    with zipfile.ZipFile(path) as book:
        # Two standards have a namespace each for the same names.
        first = _parsed(book, "xl/workbook.xml").find(".//{*}sheet")
        links = _parsed(book, "xl/_rels/workbook.xml.rels")
        if first is None:
            return
        link = next((value for name, value in first.items() if name.endswith("}id")), None)
        target = next((x.get("Target", "") for x in links if x.get("Id") == link), "")
        part = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
        rest = b""
        with book.open(part) as sheet:
            while chunk := sheet.read(CHUNK):
                text = rest + chunk
                last = text.rfind(_CELL_END)
                whole = last + len(_CELL_END) if last >= 0 else 0
                for tag, said in _ERROR.findall(text, 0, whole):
                    place = PLACE.search(tag)
                    if place is not None:
                        yield int(place[2]), place[1].decode(), said.decode("utf-8", "replace")
                rest = text[whole:]


def _parsed(book: zipfile.ZipFile, part: str) -> ElementTree.Element:
    return ElementTree.fromstring(book.read(part))  # noqa: S314 this process is there to die of it


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
