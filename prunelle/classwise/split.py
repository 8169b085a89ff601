"""A network is split: members made by an engine, and what they answer together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunelle.classwise.answers import Answers, asked, views_held, views_of
from prunelle.classwise.combine import Mistakes, calibrated, mistakes
from prunelle.classwise.member import (
    END,
    NETWORK,
    OUTPUTS,
    SHARED,
    Job,
    Shop,
    make_member,
    prepare,
    run_of,
    top1_of,
)
from prunelle.classwise.member_task import member_targets, member_task
from prunelle.data.arrays import ArraySplit
from prunelle.data.groups import labels_of
from prunelle.data.task import Task
from prunelle.engines.engine import Engine, Watch
from prunelle.errors import CorruptFileError
from prunelle.measure.accuracy import wilson
from prunelle.models.members import Calibration, Groups, combined, places
from prunelle.runs import Run
from prunelle.train.identity import plain


@dataclass(frozen=True)
class Trial:
    """A grouping that was tried. groups: what it gave with this seed; a single one of all classes is the control."""

    grouping: str
    seed: int
    groups: Groups

    @property
    def jobs(self) -> list[Job]:
        return [Job(group, self.seed) for group in self.groups]


@dataclass(frozen=True)
class MemberFound:
    """A member's figures. folder: where it is saved, as it was chosen. val_top1, test_top1: of own against others,
    half each, see member_task. temperature, bias: of its outputs, see models.members.Calibration."""

    group: tuple[int, ...]
    folder: Path
    val_top1: float
    test_top1: float
    epochs: int
    epochs_saved: int
    history: tuple[float, ...]
    temperature: float
    bias: float


@dataclass(frozen=True)
class Found:
    """What the members of a trial answer together. top1_low, top1_high: 95 % interval on test."""

    trial: Trial
    members: tuple[MemberFound, ...]
    calibration: Calibration = field(repr=False)
    val_top1: float
    top1: float
    top1_low: float
    top1_high: float
    num_test: int
    mistakes: Mistakes = field(repr=False)


def with_answers(shop: Shop, trials: Sequence[Trial], seed: int, watch: Callable[[str, float], None]) -> Shop:
    """The shop with its teacher's answers, where it has none yet and a member is still to be trained by them.

    seed: of the views. Raises SettingError, BusyError, CorruptFileError, DiskError.
    """
    making, split = shop.making, shop.task.train
    num_views = views_held(split, making.num_views, shop.task.num_classes)
    if shop.answers is not None or not num_views or making.training is None:
        return shop
    if all(run_for(job, shop).done for job in distinct(trials)):
        return shop
    named = {name: value for name, value in shop.named.items() if name != SHARED}
    making.training.precision.check(torch.device(shop.device))
    assert isinstance(split, ArraySplit)
    shown = views_of(split, num_views, seed)
    settings = {
        "answers": num_views,
        "augment": plain(split.augment),
        "drawn_on": split.images.device.type,
        "precision": str(making.training.precision.dtype),
        **named,
    }
    run = Run.open(shop.out / "runs", settings, seed, shop.device)
    outputs = asked(
        shop.taught_by.open(),
        shown,
        making.training.precision,
        run,
        lambda share: watch("the whole network's answers", share),
        making.training.checkpoint_seconds,
    )
    return replace(shop, answers=Answers(num_views, shown, outputs))


def make_all(trials: Sequence[Trial], shop: Shop, engine: Engine, watch: Watch) -> None:
    """Every member that does not stand; one that several trials have is made once. The engine's shared value is the
    shop. Raises what `member.make_member` raises."""
    missing = [job for job in distinct(trials) if not run_for(job, shop).done]
    if shop.making.cutting.latency is not None:
        for job in missing:
            watch()
            prepare(job, shop)
    engine.run(make_member, missing, watch)


def distinct(trials: Sequence[Trial]) -> list[Job]:
    return list(dict.fromkeys(job for trial in trials for job in trial.jobs))


def run_for(job: Job, shop: Shop) -> Run:
    return run_of(job, shop.out, shop.making, shop.named, shop.device)


def standing(trials: Sequence[Trial], shop: Shop) -> tuple[str, float]:
    """How far all members are, for whoever watches."""
    runs = [run_for(job, shop) for job in distinct(trials)]
    done = sum(run.done for run in runs)
    return f"{done} of {len(runs)} members", sum(share_of(run) for run in runs) / max(1, len(runs))


def share_of(run: Run) -> float:
    if run.done:
        return 1.0
    with suppress(OSError, ValueError):
        return float((run.folder / "progress").read_text())
    return 0.0


def answer(trial: Trial, shop: Shop, at_the_end: bool = False) -> Found:
    """The joint answer of members that stand: calibrated on val, told on test.

    at_the_end: of the same members trained for all epochs, where early stopping is audited. Raises CorruptFileError.
    """
    runs = [run_for(job, shop) for job in trial.jobs]
    said = [outputs_of(run) for run in runs]
    kind = END if at_the_end else ""
    val, test = ([one[kind + part] for one, _ in said] for part in ("val", "test"))
    val_targets, targets = labels_of(shop.task.val), labels_of(shop.task.test)
    calibration = calibrated(val, val_targets, trial.groups) if len(trial.groups) > 1 else Calibration.none(1)
    chosen = together(val, calibration, trial.groups).argmax(1)
    answers = together(test, calibration, trial.groups).argmax(1)
    right = int((answers == targets).sum())
    low, high = wilson(right / len(targets), len(targets))
    members = [
        member_found(group, run, shop.task, (val[at], test[at]), calibration.of(at), at_the_end)
        for at, (group, run) in enumerate(zip(trial.groups, runs, strict=True))
    ]
    return Found(
        trial=trial,
        members=tuple(members),
        calibration=calibration,
        val_top1=float((chosen == val_targets).double().mean()),
        top1=right / len(targets),
        top1_low=low,
        top1_high=high,
        num_test=len(targets),
        mistakes=mistakes(answers, targets, trial.groups),
    )


def together(outputs: Sequence[Tensor], calibration: Calibration, groups: Groups) -> Tensor:
    """(N, classes) of all members; one member for all classes has no "none of mine" and answers alone."""
    return outputs[0] if len(groups) == 1 else combined(outputs, calibration, places(groups))


def outputs_of(run: Run) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a member said of val and test. Raises CorruptFileError where the run does not hold it."""
    found = run.load_checkpoint(OUTPUTS)
    if found is None:
        raise CorruptFileError(f"{run.folder}: holds no {OUTPUTS}; delete it and start the same command again.")
    return found


def member_found(
    group: tuple[int, ...],
    run: Run,
    task: Task,
    said: tuple[Tensor, Tensor],
    calibration: tuple[float, float],
    at_the_end: bool,
) -> MemberFound:
    """said: on val and test. calibration: temperature and bias."""
    card, own = run.card(), member_task(task, group)
    val, test = (
        top1_of(outputs, member_targets(labels_of(split), group, task.num_classes), own)
        for outputs, split in zip(said, (task.val, task.test), strict=True)
    )
    saved = 0 if at_the_end else card["epochs_saved"]
    return MemberFound(
        group=group,
        folder=run.folder / NETWORK,
        val_top1=val,
        test_top1=test,
        epochs=card["epochs"] + card["epochs_saved"] - saved,
        epochs_saved=saved,
        history=tuple(card["history"]),
        temperature=calibration[0],
        bias=calibration[1],
    )
