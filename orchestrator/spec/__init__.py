"""Specs, the files that people write, read as a stream of checked rows (docs/specs.md)."""

from orchestrator.spec.entries import BadRow, Note, SpecHeader, SpecRow
from orchestrator.spec.own import check_kept
from orchestrator.spec.price_file import read_prices
from orchestrator.spec.sources import STANDARD_INPUT, Reading, check_encoding
from orchestrator.spec.spec import AS_FOUND, Report, Spec, open_spec, validate

__all__ = [
    "AS_FOUND",
    "STANDARD_INPUT",
    "BadRow",
    "Note",
    "Reading",
    "Report",
    "Spec",
    "SpecHeader",
    "SpecRow",
    "check_encoding",
    "check_kept",
    "open_spec",
    "read_prices",
    "validate",
]
