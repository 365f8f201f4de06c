"""Curves as SVG: panels side by side, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, MARGIN = 360, 300, 48
COLOURS = {
    "best fixed interval": "#8a8a8a",
    "optimum, distribution known": "#1b7f3b",
    "learned from 200 tasks": "#1f5fbf",
    "a quarter of the age": "#c0392b",
}
_X = (1.0, 20.0)
_Y = (1.5, 60.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """(lag in seconds, polls per task) each; `dots` marks the points."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    curves: Sequence[Curve]


def draw(panels: Sequence[Panel]) -> str:
    """Two panels a row, a legend below."""
    rows = math.ceil(len(panels) / 2)
    wide, high = 2 * WIDTH, rows * HEIGHT + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}">',
        '<g font-family="sans-serif" font-size="11">',
        f'<rect width="{wide}" height="{high}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        x, y = WIDTH * (number % 2), HEIGHT * (number // 2)
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    for number, (name, colour) in enumerate(COLOURS.items()):
        left = 20 + number * 175
        parts.append(
            f'<rect x="{left}" y="{high - 26}" width="12" height="4" fill="{colour}"/>'
            f'<text x="{left + 18}" y="{high - 20}">{name}</text>'
        )
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    right, bottom = WIDTH - 12, HEIGHT - MARGIN
    parts = [
        f'<text x="{MARGIN}" y="18" font-size="13" font-weight="bold">{panel.title}</text>',
        f'<path d="M{MARGIN} 28V{bottom}H{right}" fill="none" stroke="black"/>',
        f'<text x="{right}" y="{HEIGHT - 16}" text-anchor="end">mean lag, seconds</text>',
        f'<text x="{MARGIN + 6}" y="36">polls per task</text>',
    ]
    for lag in (1, 2, 5, 10, 20):
        x = _x(lag)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{lag}</text>')
        parts.append(f'<path d="M{x:.1f} {bottom}v4" stroke="black"/>')
    for polls in (2, 5, 10, 20, 50):
        y = _y(polls)
        parts.append(f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{polls}</text>')
        parts.append(f'<path d="M{MARGIN} {y:.1f}h-4" stroke="black"/>')
    for curve in panel.curves:
        parts += _curve(curve)
    return parts


def _curve(curve: Curve) -> list[str]:
    colour = COLOURS[curve.name]
    inside = [
        (_x(lag), _y(polls))
        for lag, polls in sorted(curve.points)
        if _X[0] <= lag <= _X[1] and _Y[0] <= polls <= _Y[1]
    ]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in inside)
    parts = [f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>']
    if curve.dots:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in inside]
    return parts


def _x(lag: float) -> float:
    part = math.log(lag / _X[0]) / math.log(_X[1] / _X[0])
    return MARGIN + part * (WIDTH - 12 - MARGIN)


def _y(polls: float) -> float:
    part = math.log(polls / _Y[0]) / math.log(_Y[1] / _Y[0])
    return HEIGHT - MARGIN - part * (HEIGHT - MARGIN - 28)
