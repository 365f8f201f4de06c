"""The `read` fixture for every test of specs."""

from tests.unit.spec.reading import read

__all__ = ["read"]
