"""A module and a Task of your own in, its members out: the class-wise split without words or recipes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from prunelle.classwise.activity import Similarity
from prunelle.classwise.cutting import Cutting, Evidence
from prunelle.classwise.grouping import Grouping, check_groups, kmeans
from prunelle.classwise.joining import save_joined
from prunelle.classwise.look import NUM_IMAGES, look_at
from prunelle.classwise.member import Making, Shop
from prunelle.classwise.shared import check_shared, with_shared
from prunelle.classwise.split import Found, Trial, answer, make_all, standing, with_answers
from prunelle.classwise.whole import Whole
from prunelle.data.task import Task
from prunelle.engines.local import num_cores, workers_of
from prunelle.errors import RunConflictError, SettingError
from prunelle.files import holds_strangers, make_folder, read_sealed_json, write_sealed_json
from prunelle.graph.cuts import Cuts
from prunelle.models.members import Groups, Members, checked
from prunelle.models.save import Builder, save
from prunelle.prune.channel_repairs import least_squares_repair
from prunelle.runs import held
from prunelle.schedules import exponential
from prunelle.seeds import derive
from prunelle.train.identity import weights_hash
from prunelle.train.optimizers import Sgd
from prunelle.train.settings import EarlyStop, TrainSettings

RETRAINING = TrainSettings(
    10,
    0.02,
    optimizer=Sgd(0.9, 1e-4),
    schedule=exponential,
    early_stop=EarlyStop(2, min_gain=0.003, restore_best=False),
    average_epochs=1.0,
)
MAKING = Making(Cutting(), RETRAINING, repairs=(least_squares_repair,))
WHOLE, CLAIM = "whole", "classwise.json"


@dataclass(frozen=True)
class Divided:
    """members: one module whose forward combines them; saved in OUT. found: what they answer on val and test, together
    and each. similarity: of the classes, by their features."""

    members: Members
    found: Found
    similarity: Similarity = field(repr=False)


def divide(
    model: nn.Module,
    task: Task,
    *,
    out: str | Path,
    groups: int | Groups = 2,
    grouping: Grouping = kmeans,
    making: Making = MAKING,
    shared: Making | None = None,
    seed: int = 0,
    workers: int | None = None,
    builder: Builder | None = None,
    watch: Callable[[str, float], None] = lambda what, share: None,
) -> Divided:
    """Cut `model` into a small network for each group of classes, retrain them, calibrate and join them.

    model: trained, on the CPU; it stays as it was. task: with one class an image; choices are made on val, test is read
    once. out: a folder of its own; started again with the same arguments it goes on where it stood. groups: how many,
    or the classes of each. making: how far members are cut and how they are trained; the preset is for networks with
    batch norm. shared: how one network for all classes is cut and trained first, which members are then cut from; it
    is kept in OUT/shared. For small members. workers: processes of one thread, None for one a core; the module's class
    is importable by name. builder: how to make the module without you; without one OUT is loaded by
    `load(OUT, model=...)`, given `Members` of dense members. watch: is told what is going on.
    Raises SettingError, ModelError, DataError, RunConflictError, BusyError, DivergedError, DiskError.
    """
    out = Path(out)
    if holds_strangers(out, CLAIM):
        raise RunConflictError(f"{out}: is not empty and holds no {CLAIM}; choose another folder for out.")
    given = given_groups(groups, task)
    if shared is not None:
        check_shared(making, shared)
    make_folder(out)
    own = copy.deepcopy(model).eval()
    with held(out / ".lock"):
        named = {"whole": weights_hash(own), "data": task.fingerprint}
        claim(out / CLAIM, named)
        save(own, out / WHOLE, builder=builder, preprocessing=task.preprocessing, class_names=task.class_names)
        whole = Whole(out / WHOLE, builder, Cuts(), own if builder is None else None)
        watch("looking at classes", 0.0)
        read = partial(look_at, task=task, zero=making.cutting.zero, num_images=NUM_IMAGES, seed=seed)
        look = read(own)
        shop = Shop(task, whole, look.head, Evidence(look.activations, look.macs, look.carried), making, out, named)
        if isinstance(groups, int):
            found = grouping(look.similarity, look.features, groups, np.random.default_rng(derive(seed, "grouping")))
        else:
            found = given
        trial = Trial(getattr(grouping, "__name__", "own") if isinstance(groups, int) else "given", seed, found)
        engine_of = partial(workers_of, min(workers or num_cores(), len(found)))
        if shared is not None:
            shop = with_shared(shop, shared, seed, engine_of, read, watch)[1]
        shop = with_answers(shop, [trial], seed, watch)
        with engine_of(shop) as engine:
            make_all([trial], shop, engine, lambda: watch(*standing([trial], shop)))
        said = answer(trial, shop)
        return Divided(save_joined(said, shop, out), said, look.similarity)


def given_groups(groups: int | Groups, task: Task) -> Groups:
    """Groups of classes as they are used, none where only their number is told. Raises SettingError, ModelError."""
    given = () if isinstance(groups, int) else checked(groups)
    check_groups(groups if isinstance(groups, int) else len(given), task.num_classes)
    num = sum(map(len, given))
    if given and num != task.num_classes:
        raise SettingError(f"groups: {num} classes are named, {task.name} has {task.num_classes}; name each once.")
    return given


def claim(path: Path, named: dict[str, str]) -> None:
    """Write down what a folder is for. Raises RunConflictError where it was for another network or other data."""
    if not path.exists():
        write_sealed_json(path, named)
    elif read_sealed_json(path) != named:
        raise RunConflictError(f"{path.parent}: was begun with another network or other data; choose another folder.")
