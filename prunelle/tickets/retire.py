"""Which trainings are ended early: those that have converged, and those that have no hope.

A member is judged by its own history and the dense network's alone, never by its neighbours: so the verdict does not
depend on what happens to be trained beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prunelle.errors import SettingError
from prunelle.seeds import derive

Reason = Literal["converged", "hopeless"]


@dataclass(frozen=True)
class Retirement:
    """When to end a training early. Accuracies and their differences are fractions.

    patience: epochs without a gain of min_gain over the best; None = never for that reason. gap: a member is hopeless
    when even `reach` times its last epoch's gain in every epoch left would leave it this far below the dense network;
    None = never. grace: epochs that everybody gets. audit: share of the members that go on all the same, so that what
    retiring costs is measured in the same search.
    """

    patience: int | None = None
    min_gain: float = 0.0
    gap: float | None = None
    reach: float = 1.0
    grace: int = 2
    audit: float = 0.0

    def __post_init__(self) -> None:
        for name, ok, allowed in (
            ("patience", self.patience is None or self.patience >= 1, "at least 1"),
            ("gap", self.gap is None or 0 < self.gap <= 1, "above 0 and at most 1"),
            ("grace", self.grace >= 1, "at least 1"),
            ("audit", 0 <= self.audit <= 1, "in [0, 1]"),
        ):
            if not ok:
                raise SettingError(f"retirement: {name} is {getattr(self, name)}, must be {allowed}.")


NEVER = Retirement()


def verdict(history: Sequence[float], dense: float, epochs: int, rule: Retirement) -> Reason | None:
    """Whether a member leaves, and why.

    history: its val accuracy after each of its epochs. dense: the dense network's. epochs: that it has in all.

    >>> verdict([0.90, 0.91, 0.91, 0.91], 0.95, 10, Retirement(patience=2))
    'converged'
    >>> verdict([0.10, 0.20, 0.21], 0.95, 10, Retirement(gap=0.1))
    'hopeless'
    >>> verdict([0.10, 0.20, 0.30], 0.95, 10, Retirement(gap=0.1))
    """
    done = len(history)
    if done < max(rule.grace, 2) or done >= epochs:
        return None
    if rule.patience is not None and epochs_without_gain(history, rule.min_gain) >= rule.patience:
        return "converged"
    if rule.gap is not None:
        gain = max(0.0, history[-1] - history[-2])
        if history[-1] + rule.reach * gain * (epochs - done) < dense - rule.gap:
            return "hopeless"
    return None


def epochs_without_gain(history: Sequence[float], min_gain: float) -> int:
    """Epochs since the best was last beaten by more than min_gain.

    >>> epochs_without_gain([0.5, 0.6, 0.6, 0.59], 0.0)
    2
    """
    best, since = history[0], 0
    for value in history[1:]:
        best, since = (value, 0) if value > best + min_gain else (best, since + 1)
    return since


def audited(seed: int, name: str, rule: Retirement) -> bool:
    """Whether this member goes on whatever the verdict, the same in every start."""
    return derive(seed, "audit", name) / 2**63 < rule.audit
