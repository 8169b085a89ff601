"""`prunelle.fit(...)`: a module and a Task of your own in, the best file under a budget out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.engines.local import num_cores
from prunelle.errors import DataError, ModelError, RunConflictError, SettingError
from prunelle.files import holds_strangers
from prunelle.fit.budget import budget_for
from prunelle.fit.candidates import read_candidate
from prunelle.fit.fitting import Watch, search
from prunelle.fit.folder import ASKED
from prunelle.fit.networks import Brought
from prunelle.fit.outcome import Place
from prunelle.graph.cuts import Cuts
from prunelle.models.open import outputs
from prunelle.models.save import Builder
from prunelle.ship.shipped import open_shipped
from prunelle.train.identity import weights_hash

ORDERED = 100
"""Images that are read twice, to see whether they come in the same order."""


@dataclass(frozen=True)
class Fitted:
    """met: whether the file keeps every limit, its drop on the test split. folder: of the file, with ship.json.
    report: the page. result: all figures, as result.json holds them."""

    met: bool
    folder: Path
    report: Path
    result: dict[str, Any]

    def load(self, threads: int = 1) -> Callable[[Tensor], Tensor]:
        """The file, opened: images (B, C, H, W) float32 to outputs (B, outputs)."""
        return open_shipped(self.folder, threads, trust=True)[0]


def fit(
    model: nn.Module,
    task: Task,
    *,
    out: str | Path,
    max_ms: float | None = None,
    max_ratio: float | None = None,
    max_kb: float | None = None,
    max_drop: float | None = None,
    minutes: float = 20.0,
    runtimes: tuple[str, ...] | None = None,
    threads: int | None = None,
    seed: int = 0,
    builder: Builder | None = None,
    candidate: str | Path | None = None,
    watch: Watch = lambda news: None,
) -> Fitted:
    """Search for the most accurate file of `model` within the budget, for at most about `minutes`; see fit/search.py.

    model: trained, on the CPU; it stays as it was. task: its splits, loss and metric (see data.task.Task.from_loaders):
    choices are made on val, test is read once; both give their examples in the same order each time. The metric's mean
    is what "accuracy" means; a point is a hundredth of it, larger is better. max_ms, max_ratio, max_kb, max_drop: see
    fit.budget.Budget; at least one. out: a folder of its own; started again with the same arguments it goes on where it
    stood. runtimes: formats that may be shipped; None takes
    all installed. threads: of trainings, None takes as many as pay. builder: how to make the module without you;
    without one no packed file is made. candidate: make only this one, a row of another search's OUT/rows; then no limit
    is needed. watch: is told what is being tried.
    Raises SettingError, ModelError, DataError, WorkError where nothing can be shipped, RunConflictError, BusyError,
    DiskError.
    """
    alone = None if candidate is None else read_candidate(candidate)
    budget = budget_for(alone is not None, max_ms=max_ms, max_ratio=max_ratio, max_kb=max_kb, max_drop=max_drop)
    if not minutes > 0:
        raise SettingError(f"fit: minutes is {minutes}, must be above 0.")
    cores = num_cores()
    if threads is not None and not 1 <= threads <= cores:
        raise SettingError(f"fit: threads is {threads}, must be 1 to {cores}, the cores of this machine.")
    if holds_strangers(Path(out), ASKED):
        raise RunConflictError(f"{out}: is not empty and holds no {ASKED}; choose another folder for out.")
    check_model(model, task)
    check_order(task)
    brought = Brought(own_copy(model), builder, Cuts(), weights_hash(model))
    words = ("model", "task", *(("builder=builder",) if builder is not None else ()))
    place = Place(Path(out), minutes, runtimes, threads, seed, type(model).__name__, task.name, alone, words, True)
    result = search(brought, task, budget, place, watch)
    return Fitted(result["met"], place.out / "best", place.out / "report.html", result)


def check_model(model: nn.Module, task: Task) -> None:
    """Raises ModelError for a model that is not on the CPU, or does not give what the task asks for."""
    name = type(model).__name__
    if any(value.device.type != "cpu" for value in model.state_dict().values()):
        raise ModelError(f"fit: {name} is not on the CPU; pass model.cpu().")
    given = outputs(model, name, task.input_shape)
    if given != task.num_classes:
        raise ModelError(
            f"fit: {name} gives {given} outputs and {task.name} has {task.num_classes}; use a fitting one."
        )


def own_copy(model: nn.Module) -> nn.Module:
    """In eval mode; of a model that is frozen as a whole, as for inference, one that can be trained."""
    own = copy.deepcopy(model).eval()
    if not any(parameter.requires_grad for parameter in own.parameters()):
        own.requires_grad_(True)
    return own


def check_order(task: Task) -> None:
    """Raises DataError where val or test gives other images when it is read again: a file's answers are held to the
    network's, image by image."""
    for name, split in (("val", task.val), ("test", task.test)):
        first, again = (next(iter(split.epoch(ORDERED)))[0] for _ in range(2))
        if not torch.equal(first, again):
            raise DataError(
                f"{name} loader: gives other images, or another order of them, each time it is read; make it with "
                "shuffle=False and without random changes."
            )
