"""What a step is: a frozen dataclass called with (model, task, run) that returns a new model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from prunelle.errors import SettingError
from prunelle.runs import Run


class Step(Protocol):
    """One piece of work on a model.

    task: a `prunelle.data.task.Task` (above this floor, hence not named in the signature). The model it is given
    stays as it was; the run brings generators, device and where to record. Called again on the same run after a
    kill, it goes on where it stood.
    """

    @property
    def name(self) -> str:
        """Unique within a chain: checkpoints and rows are filed under it."""

    def __call__(self, model: nn.Module, task: Any, run: Run) -> nn.Module: ...


@dataclass(frozen=True)
class Chain:
    """Steps one after another; itself a step. Raises SettingError when two of them have one name."""

    steps: tuple[Step, ...]
    name: str = "chain"

    def __post_init__(self) -> None:
        names = [step.name for step in self.flat()]
        for name in names:
            if names.count(name) > 1:
                raise SettingError(
                    f"{self.name}: two steps are called {name!r}, and the second would take over the first one's "
                    "checkpoint; give each its own name."
                )

    def flat(self) -> list[Step]:
        """The steps in their order, those of chains inside too."""
        return [one for step in self.steps for one in (step.flat() if isinstance(step, Chain) else [step])]

    def __call__(self, model: nn.Module, task: Any, run: Run) -> nn.Module:
        for step in self.steps:
            model = step(model, task, run)
        return model
