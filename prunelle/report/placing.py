"""Words in a picture, put where they cover least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from prunelle.report.plain import text

GLYPH = 7.8
"""Width of a letter, in the picture's units."""
LINE = 15.0
"""Height of a line of text."""

LATER = 5.0
"""Area that may be covered rather than take the next spot."""

Box = tuple[float, float, float, float]
"""Left, top, width, height."""


@dataclass
class Sheet:
    """Where words may stand, and what is there already. Final."""

    bounds: Box
    taken: list[Box] = field(default_factory=list)

    def take(self, x: float, y: float, half: float) -> None:
        """A mark stands there."""
        self.taken.append((x - half, y - half, 2 * half, 2 * half))

    def cost(self, words: str, spot: tuple[float, float]) -> float:
        """Area that words at a spot (left end of their baseline) would cover; what leaves the bounds counts most."""
        box = (spot[0], spot[1] - 12, len(words) * GLYPH, LINE)
        outside = box[2] * box[3] - shared(box, self.bounds)
        return 50 * outside + sum(shared(box, other) for other in self.taken)

    def write(self, words: str, spots: Sequence[tuple[float, float]], look: str) -> str:
        """Words at the spot where they cover least, an earlier one before a later one where that hardly differs; the
        place is taken from then on."""
        costs = [self.cost(words, spot) + LATER * number for number, spot in enumerate(spots)]
        x, y = spots[costs.index(min(costs))]
        self.taken.append((x, y - 12, len(words) * GLYPH, LINE))
        return f'<text class="halo {look}" x="{x:.1f}" y="{y:.1f}">{text(words)}</text>'

    def beside(self, words: str, x: float, y: float, look: str) -> str:
        """Words beside a mark."""
        wide = len(words) * GLYPH
        spots = [(x + 13, y + 4), (x - 13 - wide, y + 4), (x - wide / 2, y - 14), (x - wide / 2, y + 24)]
        spots += [(x + 9, y - 10), (x - 9 - wide, y - 10), (x + 9, y + 20), (x - 9 - wide, y + 20)]
        spots += [(x + dx, y + dy) for dy in (38, -28, 56) for dx in (-wide / 2, 9, -9 - wide)]
        return self.write(words, spots, look)


def shared(one: Box, other: Box) -> float:
    """Area of two boxes' overlap.

    >>> shared((0, 0, 2, 2), (1, 1, 5, 5)), shared((0, 0, 1, 1), (1, 0, 1, 1))
    (1, 0)
    """
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(0, wide) * max(0, high)
