"""Fixtures of the tests that have an installation in their own process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.valkey import short_directory, valkey_server


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """The address of a server that a module's tests have to themselves."""
    with short_directory() as place, valkey_server(place) as server:
        yield str(server.url)
