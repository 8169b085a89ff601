"""Whether what a run folder holds is of the network and the search that it is read for.

Seals tell damage, not who wrote: a folder may come from a stranger, and C reads weights without asking how many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from prunelle.errors import CorruptFileError
from prunelle.measure.params import prunable
from prunelle.tickets.trainer import Start
from prunelle.train.optimizers import Optimizer

NUMBER = (int, float)
LEAST = -(2**63)


def check_start(start: Start, model: nn.Module, optimizer: Optimizer, where: Path) -> None:
    """Raises CorruptFileError, naming the run's folder, where a member cannot begin so."""
    check_tensors(start.tensors, model.state_dict(), where)
    check_tensors(start.kept, {n: w for n, w in prunable(model).items() if n in start.kept}, where, typed=False)
    if not start.optimizer:
        return
    weights = [p for p in model.parameters() if p.requires_grad]
    own = optimizer.init([w.detach() for w in weights])
    check_tensors(numbered(start.optimizer), numbered(own), where)


def numbered(state: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    return {f"{quantity}:{place}": t for quantity, tensors in state.items() for place, t in enumerate(tensors)}


def check_tensors(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: Path, typed: bool = True) -> None:
    """typed: whether the types of their numbers must be equal. Raises CorruptFileError."""
    for name in sorted(given.keys() | wanted.keys()):
        one, other = given.get(name), wanted.get(name)
        same = one is not None and other is not None and one.shape == other.shape
        if not same or (typed and one.dtype != other.dtype):  # type: ignore[union-attr]
            raise CorruptFileError(
                f"{where}: is of another model ({name} differs); delete that folder and start again."
            )


def check_alike(given: Any, wanted: Any, where: Path) -> None:
    """Plain JSON values: the same keys, as many items, the same types all the way down; any finite number will do for
    a number, and one for None. Raises CorruptFileError."""
    if not alike(given, wanted):
        raise CorruptFileError(f"{where}: says other things than such a file does; delete it and start again.")


def alike(one: Any, other: Any) -> bool:
    """
    >>> alike({"a": [1, "x"]}, {"a": [2.5, "y"]}), alike({"a": "1"}, {"a": 1})
    (True, False)
    """
    if isinstance(other, dict):
        return isinstance(one, dict) and one.keys() == other.keys() and all(alike(one[k], other[k]) for k in other)
    if isinstance(other, list | tuple):
        return isinstance(one, list) and len(one) == len(other) and all(map(alike, one, other))
    if isinstance(other, bool | str):
        return type(one) is type(other)
    return (one is None and other is None) or is_number(one)


def is_number(value: Any, low: float = LEAST, high: float = math.inf) -> bool:
    """Whether it is a number, finite, in [low, high]."""
    return type(value) in NUMBER and math.isfinite(value) and low <= value <= high
