"""One member: cut from the whole network, retrained, saved, and asked. What a worker process does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.classwise.answers import Answers, Told
from prunelle.classwise.cutting import Cutting, Evidence, plan_member, to_json
from prunelle.classwise.head import Head, member_of, narrowed, wide_member_of
from prunelle.classwise.member_task import member_targets, member_task
from prunelle.classwise.teacher import Merged, compared
from prunelle.classwise.whole import Whole
from prunelle.data.groups import labels_of
from prunelle.data.task import Batch, Split, Task
from prunelle.errors import CorruptFileError
from prunelle.files import write_sealed_json
from prunelle.measure.accuracy import EVAL_BATCH
from prunelle.models.save import load, save
from prunelle.prune.channel_steps import Repair, repaired
from prunelle.prune.stored_cut import StoredCut, cut_once
from prunelle.runs import Run
from prunelle.seeds import derive, generator
from prunelle.train.checkpoint import kept_of
from prunelle.train.identity import plain
from prunelle.train.settings import Teacher, TrainSettings
from prunelle.train.stage import Train

NETWORK, CANDIDATES, OUTPUTS = "network", "candidates.json", "outputs"
CUT, TRAIN = "cut", "train"
END = "end_"
"""Before the names of outputs: those of a member trained to the end, though it would have left."""
SHARED = "shared"
"""In Shop.named: the network that all members are cut from, where that is not the teacher."""
HEAD_IMAGES = 2048
"""That the row for "none of mine" is fitted to."""


@dataclass(frozen=True)
class Making:
    """How members are made. training: of one member; its teacher is the whole network. distill: share of the loss that
    imitates it, 0 for none, at this temperature. views: of each training image that it is asked about beforehand, once
    for all members; 0, or a split that is not in memory: at each update. repairs: after the cut, before training; see
    prune.channel_repairs."""

    cutting: Cutting
    training: TrainSettings | None
    distill: float = 0.9
    temperature: float = 4.0
    views: int = 4
    repairs: tuple[Repair, ...] = ()

    @property
    def num_views(self) -> int:
        """How many views of an image the whole network is asked about beforehand."""
        return min(self.views, self.training.epochs) if self.training is not None and self.distill else 0

    @property
    def audited(self) -> bool:
        """Whether members that would leave early go on all the same."""
        return self.training is not None and self.training.audited

    def settings(self, whole: nn.Module | None, group: tuple[int, ...], num_classes: int) -> TrainSettings:
        """Of one member's training. whole: None where its answers come with the targets."""
        assert self.training is not None
        if not self.distill:
            return self.training
        teacher = None if whole is None else Merged(whole, group)
        told = Teacher(teacher, self.temperature, self.distill, compared(group, num_classes))
        return replace(self.training, teacher=told)


@dataclass(frozen=True)
class Shop:
    """What all members of a network share; sent to a worker once. whole: what they are cut from. teacher: the network
    that they imitate, None where that is `whole`. named: plain values that tell which networks and data these are.
    answers: of the teacher, None where it is asked at each update."""

    task: Task
    whole: Whole
    head: Head
    evidence: Evidence
    making: Making
    out: Path
    named: Mapping[str, Any]
    device: str = "cpu"
    answers: Answers | None = None
    teacher: Whole | None = None

    @property
    def taught_by(self) -> Whole:
        """The network whose answers members learn."""
        return self.teacher or self.whole


@dataclass(frozen=True)
class Job:
    """A member to be made. group: its classes, ascending."""

    group: tuple[int, ...]
    seed: int


def run_of(job: Job, out: Path, making: Making, named: Mapping[str, Any], device: str = "cpu") -> Run:
    """The run folder of a member: of its classes, of how it is made, and of the seed; not of its fellows."""
    settings = {"group": list(job.group), "making": plain(making), **named}
    return Run.open(out / "runs", settings, job.seed, device)


def make_member(job: Job, shop: Shop) -> None:
    """Make one member unless it stands.

    RUN/candidates.json     what it gave up
    RUN/network             the saved member
    RUN/outputs.checkpoint  what the saved member says of val and test; where early stopping is audited also what it
                            would say had it been trained to the end
    RUN/card.json           its figures

    Raises ModelError where it cannot be cut so, DivergedError.
    """
    run = run_of(job, shop.out, shop.making, shop.named, shop.device)
    if run.done:
        return
    with run.locked():
        whole, task = shop.whole.open().to(run.device), member_task(shop.task, job.group)
        cut = prepared(whole, task, job, shop, run)
        member = cut.model
        if shop.making.training is not None:
            member = train_member(member, task, job, shop, run)
        finish(member, cut, job, shop, run)


def prepare(job: Job, shop: Shop) -> None:
    """Cut a member and keep the cut for `make_member`, so that its time is measured while nothing else runs."""
    run = run_of(job, shop.out, shop.making, shop.named, shop.device)
    if not run.done:
        with run.locked():
            prepared(shop.whole.open().to(run.device), member_task(shop.task, job.group), job, shop, run)


def prepared(whole: nn.Module, task: Task, job: Job, shop: Shop, run: Run) -> StoredCut:
    """The wide member, cut; the cut is made once a run. task: the member's."""
    dense = wide_member_of(whole, shop.head, job.group, head_batches(shop.task, job.seed))
    begun = f"{job.group} {plain(shop.making.cutting)} {task.fingerprint}"
    return cut_once(run, CUT, begun, dense, lambda: cut_member(dense, job, shop, task, run))


def head_batches(task: Task, seed: int) -> list[Batch]:
    """Plain training images."""
    size = min(EVAL_BATCH, len(task.train))
    epoch = task.train.epoch(size, order=generator(seed, "head"))
    return list(islice(epoch, -(-HEAD_IMAGES // size)))


def cut_member(dense: nn.Module, job: Job, shop: Shop, task: Task, run: Run) -> StoredCut:
    """Plan, prove, cut, repair. The candidates are written beside."""
    cutting = shop.making.cutting
    made = plan_member(dense, task, job.group, shop.evidence, cutting, derive(job.seed, CUT) % 2**31)
    names = [shop.task.class_names[number] for number in job.group]
    write_sealed_json(run.folder / CANDIDATES, to_json(made, names, cutting, shop.task.fingerprint))
    pruned = made.plan.apply(dense)
    pruned = repaired(pruned, dense, made.plan.cuts, shop.making.repairs, task, run, CUT)
    return StoredCut(pruned, made.plan.cuts, {})


def train_member(member: nn.Module, task: Task, job: Job, shop: Shop, run: Run) -> nn.Module:
    """The member retrained."""
    answers, num_classes = shop.answers, shop.task.num_classes
    if answers is None:
        teacher = shop.taught_by.open().to(run.device) if shop.making.distill else None
        return Train(shop.making.settings(teacher, job.group, num_classes), TRAIN)(member, task, run)
    train = Told(shop.task.train, job.group, answers)
    task = replace(task, train=train, fingerprint=f"{task.fingerprint} told {answers.num_views}")
    return Train(shop.making.settings(None, job.group, num_classes), TRAIN)(member, task, run)


def finish(member: nn.Module, cut: StoredCut, job: Job, shop: Shop, run: Run) -> None:
    """Save, open what was saved, ask it, write the card. member: wide."""
    num_classes = shop.task.num_classes
    narrow = narrowed(member, shop.head, job.group, num_classes)
    folder, task = run.folder / NETWORK, member_task(shop.task, job.group)
    save(
        narrow.cpu(),
        folder,
        builder=shop.whole.builder_of_member(job.group),
        preprocessing=shop.task.preprocessing,
        class_names=task.class_names,
        cuts=shop.whole.cuts.then(cut.cuts),
    )
    opened = opened_member(folder, job, shop).to(run.device)
    rows = [row for row in run.rows() if row["stage"] == TRAIN]
    found = {"val": outputs_of(opened, task.val), "test": outputs_of(opened, task.test)}
    if shop.making.audited:
        end = narrowed(at_the_end(member, run), shop.head, job.group, num_classes).to(run.device)
        found |= {f"{END}val": outputs_of(end, task.val), f"{END}test": outputs_of(end, task.test)}
    run.save_checkpoint(OUTPUTS, found, {"cuts": cut.cuts.model_dump(mode="json")})
    training, saved = shop.making.training, rows[-1].get("epochs_saved", 0) if rows else 0
    run.finish(
        {
            "group": list(job.group),
            "val_top1": top1_of(found["val"], member_targets(labels_of(shop.task.val), job.group, num_classes), task),
            "epochs": 0 if training is None else training.epochs - saved,
            "epochs_saved": saved,
            "history": [row["val_top1"] for row in rows if "val_top1" in row],
        }
    )
    for name in (CUT, TRAIN):
        (run.folder / f"{name}.checkpoint").unlink(missing_ok=True)


def at_the_end(member: nn.Module, run: Run) -> nn.Module:
    """The member with the weights of its last epoch, or their average, instead of those that were chosen. Raises
    CorruptFileError."""
    found = run.load_checkpoint(TRAIN)
    if found is None:
        raise CorruptFileError(f"{run.folder}: holds no {TRAIN}; delete it and start the same command again.")
    member = copy.deepcopy(member).eval()
    last, now = kept_of(found[0])["good"], {**dict(member.named_parameters()), **dict(member.named_buffers())}
    with torch.no_grad():
        for name, tensor in last.items():
            now[name].copy_(tensor)
    return member


def opened_member(folder: Path, job: Job, shop: Shop) -> nn.Module:
    """A member as it is saved. Raises CorruptFileError."""
    return load(folder, None if shop.whole.builder is not None else uncut(job, shop), trust=True)


def uncut(job: Job, shop: Shop) -> nn.Module:
    """A member of the shapes that saved cuts begin at: the network's as it came, also where members are cut from one
    that was cut before."""
    return member_of(shop.taught_by.open(), shop.head, job.group, head_batches(shop.task, job.seed)[:1])


def top1_of(outputs: Tensor, targets: Tensor, task: Task) -> float:
    """Mean of a task's metric. outputs: (N, outputs), targets: (N,)."""
    return float(task.metric(outputs, targets).double().mean())


@torch.no_grad()
def outputs_of(model: nn.Module, split: Split) -> Tensor:
    """(N, outputs) float32 on the CPU, of the split in stored order, in eval mode."""
    model.eval()
    return torch.cat([model(images).float().cpu() for images, _ in split.epoch(EVAL_BATCH)])
