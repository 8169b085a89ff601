"""A binary arithmetic coder: bits that a model finds likely cost little.

Carry-free, 32 bits, one byte out as soon as it is settled, as in lpaq (Mahoney 2007, mattmahoney.net/dc). Writer and
reader have one interface, so that a model is written once and run in both directions.
"""

from __future__ import annotations

from typing import Protocol

from prunelle.errors import CorruptFileError

TOP = 0xFFFFFFFF
LOOKAHEAD = 4
"""Bytes that the reader holds before it needs them."""


class Flow(Protocol):
    def bit(self, likely: int, wanted: int = 0) -> int:
        """One bit. likely: 65536 times the probability that it is 1, in [1, 65535]. wanted: the bit to write; a reader
        does not look at it. Returns the bit."""


class Writer:
    """Final."""

    def __init__(self) -> None:
        self.low, self.high = 0, TOP
        self.out = bytearray()

    def bit(self, likely: int, wanted: int = 0) -> int:
        low, high = self.low, self.high
        middle = low + ((high - low) * likely >> 16)
        if wanted:
            high = middle
        else:
            low = middle + 1
        while (low ^ high) < 0x1000000:
            self.out.append(high >> 24)
            low = low << 8 & TOP
            high = (high << 8 & TOP) | 255
        self.low, self.high = low, high
        return wanted

    def finish(self) -> bytes:
        """All bytes: as few as tell the last interval when zeros follow. Its ends differ in their first byte, so that
        the upper one's first byte with zeros behind it lies inside."""
        if self.low:
            self.out.append(self.high >> 24)
        return bytes(self.out).rstrip(b"\0")


class Reader:
    """Reads what a Writer wrote; behind the end stand zeros, LOOKAHEAD of them. Final."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = LOOKAHEAD
        self.low, self.high = 0, TOP
        self.value = int.from_bytes(raw[:LOOKAHEAD].ljust(LOOKAHEAD, b"\0"), "big")

    def bit(self, likely: int, wanted: int = 0) -> int:
        low, high = self.low, self.high
        middle = low + ((high - low) * likely >> 16)
        if self.value <= middle:
            high, found = middle, 1
        else:
            low, found = middle + 1, 0
        while (low ^ high) < 0x1000000:
            low = low << 8 & TOP
            high = (high << 8 & TOP) | 255
            self.value = (self.value << 8 & TOP) | (self.raw[self.at] if self.at < len(self.raw) else 0)
            self.at += 1
        self.low, self.high = low, high
        return found

    def finish(self) -> None:
        """Raises CorruptFileError when bytes are left over."""
        if self.at < len(self.raw):
            raise CorruptFileError(
                f"packed file: {len(self.raw) - self.at} bytes are left behind the last weight; take a fresh copy."
            )
