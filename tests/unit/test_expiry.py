"""When signed URLs say that they end."""

from __future__ import annotations

import pytest

from orchestrator.domain.expiry import ASSUMED_LIFETIME_MS, url_expiry

NOON = 1_767_268_800_000  # 2026-01-01T12:00Z


@pytest.mark.parametrize(
    ("query", "expiry"),
    [
        ("X-Amz-Date=20260101T120000Z&X-Amz-Expires=600", NOON + 600_000),
        ("X-Goog-Date=20260101T120000Z&X-Goog-Expires=60", NOON + 60_000),
        ("Expires=1767268800&Signature=abc", NOON),
        ("expires=1767268800000", NOON),
        ("sv=2024&se=2026-01-01T12:00:00Z&sig=abc", NOON),
        ("", 5 + ASSUMED_LIFETIME_MS),
        ("expires=soon", 5 + ASSUMED_LIFETIME_MS),
        ("X-Amz-Date=yesterday&X-Amz-Expires=600", 5 + ASSUMED_LIFETIME_MS),
    ],
)
def test_what_a_url_tells(query: str, expiry: int) -> None:
    assert url_expiry(f"https://cdn.example.com/v.mp4?{query}", seen_at=5) == expiry
