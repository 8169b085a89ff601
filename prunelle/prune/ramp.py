"""How sparsity rises while a network trains."""

from __future__ import annotations

from dataclasses import dataclass

from prunelle.errors import SettingError
from prunelle.schedules import Schedule, cubic


@dataclass(frozen=True)
class Ramp:
    """Sparsity from `initial` to `final` between two updates.

    begin, end: numbers of updates; at update t = begin, begin + frequency, ... up to end the sparsity becomes
    final + (initial - final) * (1 - shape((t - begin) / (end - begin))). The shape `cubic` is Zhu & Gupta 2017,
    arXiv:1710.01878 eq. 1; `constant` prunes all at `begin`.
    """

    final: float
    begin: int
    end: int
    frequency: int = 100
    initial: float = 0.0
    shape: Schedule = cubic

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= self.final < 1:
            raise SettingError(
                f"ramp: sparsity goes from {self.initial} to {self.final}, must be 0 <= initial <= final < 1."
            )
        if not 0 <= self.begin <= self.end or self.frequency < 1:
            raise SettingError(
                f"ramp: begin {self.begin}, end {self.end}, frequency {self.frequency}; "
                "must be 0 <= begin <= end and frequency >= 1."
            )

    def at(self, step: int) -> float:
        """The sparsity asked for at update `step`, between those at which it is set."""
        progress = (step - self.begin) / (self.end - self.begin) if self.end > self.begin else 1.0
        return self.final + (self.initial - self.final) * (1 - self.shape(progress))

    def due(self, step: int) -> bool:
        """Whether masks are chosen anew at update `step`; always at `end`."""
        inside = self.begin <= step <= self.end
        return inside and ((step - self.begin) % self.frequency == 0 or step == self.end)
