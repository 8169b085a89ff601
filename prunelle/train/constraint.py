"""What the loop holds during training, such as masks."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Constraint(Protocol):
    """step: the number of updates done so far."""

    def start_(self, step: int, state: dict[str, Tensor]) -> None:
        """Before the first update of this process; weights are those of `step`. state: what `state` gave when the
        checkpoint was written, empty at the start of a training."""

    def after_update_(self, step: int) -> None:
        """After every update."""

    def state(self) -> dict[str, Tensor]:
        """What `start_` cannot tell from the weights; part of the checkpoint."""

    def settled(self, step: int) -> bool:
        """Whether weights of this step may be chosen as the result; early stopping waits until then."""
