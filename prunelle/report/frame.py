"""The frame of a picture: where its axes stand, their grid, ticks and titles, as SVG."""

from __future__ import annotations

from prunelle.report.axes import Axis
from prunelle.report.plain import text

WIDTH, HEIGHT = 440, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 26, 48


def across(axis: Axis, value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * axis.at(value)


def upward(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * axis.at(value)


def frame(x: Axis, y: Axis, x_title: str, y_title: str) -> str:
    """Grid, ticks, titles of the axes."""
    foot, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<rect x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{foot - TOP}" fill="#fff"/>']
    for value, label in x.ticks():
        at = across(x, value)
        parts.append(f'<path d="M{at:.1f} {TOP}V{foot + 4}" stroke="#e6e9ed"/>')
        parts.append(f'<text x="{at:.1f}" y="{foot + 18}" text-anchor="middle">{label}</text>')
    for value, label in y.ticks():
        at = upward(y, value)
        parts.append(f'<path d="M{LEFT - 4} {at:.1f}H{right}" stroke="#e6e9ed"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{text(x_title)}</text>')
    height = (TOP + foot) / 2
    parts.append(f'<text transform="translate(13 {height}) rotate(-90)" text-anchor="middle">{text(y_title)}</text>')
    parts.append(f'<path d="M{LEFT} {TOP}V{foot}H{right}" fill="none" stroke="#9aa5b1"/>')
    return "".join(parts)
