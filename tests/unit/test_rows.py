"""Cells that spreadsheets take for formulas."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.csv_out import csv_writer
from orchestrator.cli.rows import no_formula


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "--5", "-"]
)
def test_a_formula_becomes_text(cell: str) -> None:
    assert no_formula(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a kite", "-0.5", "+3", "-1e5", "0.0414", "a=b", "'=1"])
def test_anything_else_stays_as_it_is(cell: str) -> None:
    assert no_formula(cell) == cell


@given(st.lists(st.lists(st.text(), min_size=1, max_size=4), max_size=4))
def test_what_is_written_is_read_back(rows: list[list[str]]) -> None:
    """Lone carriage returns too."""
    target = io.StringIO()
    csv_writer(target).writerows(rows)
    assert "\r\n" not in target.getvalue() or any("\r" in cell for row in rows for cell in row)
    assert list(csv.reader(io.StringIO(target.getvalue(), newline=""), strict=True)) == rows
