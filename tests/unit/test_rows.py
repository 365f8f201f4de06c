"""Cells that spreadsheets take for formulas."""

from __future__ import annotations

import pytest

from orchestrator.cli.rows import no_formula


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "--5", "-"]
)
def test_a_formula_becomes_text(cell: str) -> None:
    assert no_formula(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a kite", "-0.5", "+3", "-1e5", "0.0414", "a=b", "'=1"])
def test_anything_else_stays_as_it_is(cell: str) -> None:
    assert no_formula(cell) == cell
