"""Specs, the files that people write, read as a stream of checked rows (docs/specs.md)."""

from orchestrator.spec.entries import Note, SpecHeader, SpecRow
from orchestrator.spec.spec import Report, Spec, open_spec, validate

__all__ = ["Note", "Report", "Spec", "SpecHeader", "SpecRow", "open_spec", "validate"]
