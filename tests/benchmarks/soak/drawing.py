"""The soak's curves as SVG: one small panel for each, from zero."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.soak.samples import Curves

WIDTH, HEIGHT, MARGIN = 300, 120, 34
ACROSS = 3


def draw(curves: Curves) -> str:
    wide, high = ACROSS * WIDTH, -(-len(curves) // ACROSS) * HEIGHT + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}">',
        f'<rect width="{wide}" height="{high}" fill="white"/>',
        '<g font-family="sans-serif" font-size="10">',
    ]
    for number, (name, points) in enumerate(curves.items()):
        x, y = WIDTH * (number % ACROSS), HEIGHT * (number // ACROSS)
        parts += [f'<g transform="translate({x} {y})">', *_panel(name, points), "</g>"]
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _panel(name: str, points: Sequence[tuple[float, float]]) -> list[str]:
    longest = max(minutes for minutes, _ in points) or 1.0
    highest = max(value for _, value in points) or 1.0
    right, top, bottom = WIDTH - 10, 26, HEIGHT - 16
    path = "L".join(
        f"{MARGIN + minutes / longest * (right - MARGIN):.1f} "
        f"{bottom - value / highest * (bottom - top):.1f}"
        for minutes, value in points
    )
    return [
        f'<text x="{MARGIN}" y="16" font-weight="bold">{name}</text>',
        f'<path d="M{MARGIN} {top}V{bottom}H{right}" fill="none" stroke="black"/>',
        f'<text x="{MARGIN - 4}" y="{top + 8}" text-anchor="end">{highest:,.0f}</text>',
        f'<text x="{MARGIN - 4}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{right}" y="{bottom + 12}" text-anchor="end">{longest:.0f} min</text>',
        f'<path d="M{path}" fill="none" stroke="#1f5fbf" stroke-width="1.4"/>',
    ]
