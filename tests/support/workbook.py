"""Small Excel workbooks, made by hand: text, numbers, booleans, times of day and errors."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import time
from xml.sax.saxutils import escape

Cell = str | float | bool | time | None
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def workbook(*sheets: Sequence[Sequence[Cell]], extra: str = "") -> bytes:
    """The bytes of an .xlsx with these sheets; `extra` is put behind the first one's rows."""
    numbers = range(1, len(sheets) + 1)
    names = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="r{n}"/>' for n in numbers)
    links = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in numbers
    )
    styles = (
        f'<styleSheet {_MAIN}><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="20"/></cellXfs>'
        "</styleSheet>"
    )
    parts = {
        "[Content_Types].xml": (
            f'<Types xmlns="{_TYPES}"><Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{_SHEET_TYPE}.sheet.main+xml"/>'
            "</Types>"
        ),
        "_rels/.rels": (
            f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r1" '
            f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
        ),
        "xl/workbook.xml": f'<workbook {_MAIN} xmlns:r="{_OFFICE}"><sheets>{names}</sheets>'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": (
            f'<Relationships xmlns="{_PACKAGE}">{links}<Relationship Id="s" '
            f'Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>'
        ),
        "xl/styles.xml": styles,
    }
    for number, sheet in zip(numbers, sheets, strict=True):
        rows = "".join(_row(at, cells) for at, cells in enumerate(sheet, start=1))
        rows += extra if number == 1 else ""
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f"<worksheet {_MAIN}><sheetData>{rows}</sheetData></worksheet>"
        )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as book:
        for name, text in parts.items():
            entry = zipfile.ZipInfo(name)  # of a fixed date: the same bytes each time
            entry.compress_type = zipfile.ZIP_DEFLATED
            book.writestr(entry, '<?xml version="1.0" encoding="UTF-8"?>' + text)
    return file.getvalue()


def _row(number: int, cells: Sequence[Cell]) -> str:
    inside = "".join(_cell(f"{chr(65 + at)}{number}", cell) for at, cell in enumerate(cells))
    return f'<row r="{number}">{inside}</row>' if inside else ""


def _cell(place: str, cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return f'<c r="{place}" t="b"><v>{int(cell)}</v></c>'
        case time():
            return f'<c r="{place}" s="1"><v>{(cell.hour * 60 + cell.minute) / 1440}</v></c>'
        case str() if cell.startswith("#"):
            return f'<c r="{place}" t="e"><f>1/0</f><v>{cell}</v></c>'
        case str():
            text = f'<is><t xml:space="preserve">{escape(cell)}</t></is>'
            return f'<c r="{place}" t="inlineStr">{text}</c>'
        case _:
            return f'<c r="{place}"><v>{cell!r}</v></c>'
