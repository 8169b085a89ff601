"""Where the time of a training goes: shares of data, compute and the rest."""

from __future__ import annotations

import time

import torch


class Shares:
    """Adds up wall time by the name of what was just done, on top of the `seconds` given. Final.

    On a GPU each mark waits for the device; the loop does so anyway, to see whether the loss is finite.
    """

    def __init__(self, device: torch.device, seconds: dict[str, float]) -> None:
        self.device = device
        self.seconds = seconds
        self.last = time.perf_counter()

    def restart(self) -> None:
        """Forget the time since the last mark."""
        self.last = time.perf_counter()

    def mark(self, name: str) -> None:
        """All time since the last mark or restart was spent on `name`."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now

    def shares(self) -> dict[str, float]:
        """Fractions that sum to 1, rounded to 4 places; empty before the first mark."""
        total = sum(self.seconds.values())
        return {name: round(s / total, 4) for name, s in self.seconds.items()} if total else {}
