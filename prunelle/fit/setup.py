"""What a search is told: the budget, which files may be shipped here, and how large the network is."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from torch import nn

from prunelle.errors import SettingError
from prunelle.fit.budget import Budget
from prunelle.fit.candidates import Cut, cuts_to_try, zeros_that_fit
from prunelle.measure.params import prunable
from prunelle.ship.formats import load_format
from prunelle.ship.names import FORMATS, PRECISIONS

TIGHT = 2.0
"""Times the size allowed, that one byte a weight must be over, so that only small files of cuts are looked at."""
VALUES = (32, 16)
"""Shared values tried where size counts, and 4 bits a weight beside them."""
SMALL = ("packed-native", "packed")
EAGER = "eager"
RUNTIMES = ("native", "onnx", "openvino", *SMALL)
"""Formats that are shipped where nothing else is asked."""


@dataclass(frozen=True)
class Setup:
    """What a search is told. files: (format, precision) that may be shipped and are installed; seconds: all its time;
    epoch_seconds: of one training epoch, from a pilot. num_weights: that can be pruned; num_others: all other
    numbers of the network."""

    budget: Budget
    files: tuple[tuple[str, str], ...]
    seconds: float
    epoch_seconds: float
    num_weights: int = 0
    num_others: int = 0

    @property
    def tight(self) -> bool:
        """Whether only the small file can fit: one byte a weight is far too many."""
        return self.budget.max_kb is not None and self.num_weights > TIGHT * 1e3 * self.budget.max_kb

    def cuts(self) -> list[tuple[Cut, ...]]:
        """What is looked at in one shot."""
        budget = self.budget
        by_size = budget.max_kb is not None
        room = 1e3 * (budget.max_kb or 0.0) - 2 * self.num_others
        zeros = zeros_that_fit(self.num_weights, room) if by_size else ()
        return cuts_to_try(by_size, budget.has_time or not by_size, zeros)


def small_of(setup: Setup) -> str | None:
    """The small file, where size counts or no other may be shipped: one that runs fast where time counts too."""
    names = [name for name, _ in setup.files if name in SMALL]
    by_size = setup.budget.max_kb is not None
    if not by_size and len(names) < len(setup.files):
        return None
    wanted = SMALL if setup.budget.has_time or not by_size else SMALL[::-1]
    return next((name for name in wanted if name in names), None)


def sizes(model: nn.Module) -> tuple[int, int]:
    """(weights that can be pruned, other numbers in a model's state)."""
    weights = sum(weight.numel() for weight in prunable(model).values())
    return weights, sum(value.numel() for value in model.state_dict().values()) - weights


def reference_word() -> str:
    """The runtime that shares of time refer to."""
    return "onnxruntime" if all(find_spec(name) for name in load_format("onnx").packages) else EAGER


def shippable(formats: tuple[str, ...] | None, packable: bool) -> tuple[tuple[str, str], ...]:
    """(format, precision) of all that may be shipped and are installed. packable: whether a packed file could be opened
    again without the user's own module. Raises SettingError for a format that is none, or when none is left."""
    for name in formats or ():
        if name not in FORMATS:
            raise SettingError(f"--runtimes {name}: is no format; the words are {', '.join(FORMATS)}.")
    installed = [
        name
        for name in formats or RUNTIMES
        if all(find_spec(package) for package in load_format(name).packages) and (packable or name not in SMALL)
    ]
    if not installed:
        raise SettingError("runtimes: none of those asked for is installed or fits; name others.")
    return tuple((name, precision) for name in installed for precision in PRECISIONS[name])
