"""Running a class-wise recipe: the whole network, its groups, their members, the joint answer, and the clock.

OUT/classwise.json          what is done, sealed; another recipe in the same folder is refused
OUT/runs/ID/                a folder for the whole network and one for each member
OUT/look.json               class similarities, sealed
OUT/shared/                 with shared_macs: the network that members were cut from, a MODEL, and what it gave up
OUT/members/N/              the members of the chosen grouping, each a MODEL, and what it gave up
OUT/model.*                 all of them as one MODEL
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunelle.classwise.activity import Similarity
from prunelle.classwise.cutting import Evidence
from prunelle.classwise.grouping import check_groups
from prunelle.classwise.joining import save_joined
from prunelle.classwise.look import Look, look_at
from prunelle.classwise.member import CANDIDATES, Shop
from prunelle.classwise.shared import with_shared
from prunelle.classwise.split import Found, Trial, answer, make_all, run_for, standing, with_answers
from prunelle.classwise.whole import Whole
from prunelle.data.arrays import ArraySplit
from prunelle.data.groups import picked
from prunelle.data.parts import choose_on_test
from prunelle.data.task import Task
from prunelle.engines.local import workers_of
from prunelle.errors import DataError, RunConflictError, SettingError
from prunelle.files import (
    atomic_write,
    make_folder,
    read_bytes,
    read_sealed_json,
    remove_leftovers,
    write_sealed_json,
)
from prunelle.models.members import Members, checked
from prunelle.models.save import copy_saved, load, read_folder
from prunelle.recipes.check import check_out
from prunelle.recipes.classwise import ClasswiseRecipe
from prunelle.recipes.classwise_words import making_of, shared_making, similarities, trials_of
from prunelle.recipes.execute import MODEL, diverged, execute, is_trained, open_run, task_of
from prunelle.recipes.plan import Place, PlannedRun, brought_by, plan
from prunelle.recipes.settings import Cell, Recipe
from prunelle.recipes.sweeping import Here
from prunelle.runs import held

CLAIM, LOOK = "classwise.json", "look.json"
Watch = Callable[[str, float], None]


@dataclass(frozen=True)
class Asked:
    """Where and with what it runs; none of it changes a result but the device."""

    out: Path
    workers: int
    data_dir: str | None = None
    device: str = "cpu"
    trust: bool = False
    checkpoint_seconds: float = 20.0
    command: str = ""

    @property
    def place(self) -> Place:
        return Place(
            self.out,
            self.data_dir,
            self.device,
            torch.get_num_threads(),
            trust=self.trust,
            checkpoint_seconds=self.checkpoint_seconds,
            command=self.command,
        )


@dataclass(frozen=True)
class Split:
    """What came of it. similarities: "features" and "candidates". best: of the trials, by val. joined: its members as
    one, as saved in OUT. one: the control, one network for all classes. shared: the one for all classes that members
    were cut from. Both None where not asked for. ends: what the trials answer with their members trained to the
    end, where early stopping is audited."""

    recipe: ClasswiseRecipe
    task: Task = field(repr=False)
    whole: nn.Module = field(repr=False)
    shop: Shop = field(repr=False)
    similarities: dict[str, Similarity] = field(repr=False)
    trials: list[Found] = field(repr=False)
    best: Found = field(repr=False)
    joined: Members = field(repr=False)
    one: Found | None = field(repr=False)
    shared: Found | None = field(default=None, repr=False)
    ends: tuple[Found, ...] = field(default=(), repr=False)


def run_classwise(recipe: ClasswiseRecipe, asked: Asked, watch: Watch) -> Split:
    """Do what the recipe says, or what of it is not done yet.

    Raises RunConflictError when OUT holds something else, BusyError when another process works in it, and whatever
    opening, cutting and training raise.
    """
    check_claim(recipe, asked.out)
    task = task_for(recipe, asked)
    make_folder(asked.out)
    with held(asked.out / ".lock"):
        remove_leftovers(asked.out)
        claim(recipe, task, asked)
        watch("whole network", 0.0)
        whole, network = whole_of(recipe, asked)
        look = looked(recipe, network, task, asked, watch)
        shop = shop_of(recipe, asked, task, whole, network, look)
        shared, shop = (
            (None, shop) if recipe.shared_macs is None else through_shared(recipe, asked, shop, network, watch)
        )
        trials = trials_of(recipe, look)
        control = [Trial("one", recipe.seeds[0], (tuple(range(task.num_classes)),))] if recipe.as_one else []
        shop = with_answers(shop, [*trials, *control], recipe.seeds[0], watch)
        with engine_of(asked, shop) as engine:
            make_all([*trials, *control], shop, engine, lambda: watch(*standing([*trials, *control], shop)))
        watch("joint answers", 1.0)
        found = [answer(trial, shop) for trial in trials]
        best = max(found, key=lambda one: one.val_top1)
        joined = keep(best, shop, asked.out)
        one = answer(control[0], shop) if control else None
        ends = tuple(answer(trial, shop, at_the_end=True) for trial in trials) if recipe.audit else ()
        return Split(recipe, task, network, shop, similarities(look), found, best, joined, one, shared, ends)


def task_for(recipe: ClasswiseRecipe, asked: Asked) -> Task:
    """The data as members are made from it. Raises DataError, SettingError."""
    task = task_of(recipe.data, asked.data_dir, asked.device)
    if recipe.choose_on == "test-half":
        task = choose_on_test(task)
    if recipe.train_images is not None:
        num = min(recipe.train_images, len(task.train))
        train = picked(task.train, torch.arange(num))
        if train is None:
            raise DataError(
                f"{recipe.data}: single images of its training split cannot be picked; leave out train_images."
            )
        task = replace(task, train=train, fingerprint=f"{task.fingerprint} first {num}")
    given = recipe.groups
    num_groups = given if isinstance(given, int) else len(given)
    check_groups(num_groups, task.num_classes)
    if not isinstance(given, int) and len(checked(given)) and sum(map(len, given)) != task.num_classes:
        raise SettingError(
            f"--groups: {sum(map(len, given))} classes are named, {recipe.data} has {task.num_classes}; name each once."
        )
    return task


def whole_of(recipe: ClasswiseRecipe, asked: Asked) -> tuple[Whole, nn.Module]:
    """The whole network in a run of its own: taken over, or trained first. Raises what `recipes.execute` raises."""
    planned = dense_run(recipe, asked)
    run = open_run(planned, asked.place)
    if not is_trained(run):
        execute({"planned": planned, "place": asked.place})
    if diverged(run):
        raise SettingError(f"{recipe.model}: its training diverged; take a smaller learning rate in another --out.")
    folder = run.folder / MODEL
    manifest, _ = read_folder(folder)
    return Whole(folder, manifest.builder, manifest.cuts), load(folder, trust=asked.trust)


def dense_run(recipe: ClasswiseRecipe, asked: Asked) -> PlannedRun:
    cell = Cell(
        label=recipe.name,
        model=recipe.model,
        data=recipe.data,
        weights=recipe.weights,
        input_shape=recipe.input_shape,
        dense=recipe.dense,
    )
    task = task_of(recipe.data, asked.data_dir, asked.device)
    return plan(Recipe(name=recipe.name, cells=(cell,), seeds=recipe.seeds[:1]), {recipe.data: task.fingerprint})[0]


def looked(recipe: ClasswiseRecipe, network: nn.Module, task: Task, asked: Asked, watch: Watch) -> Look:
    """Class features and activations; the similarities are written down."""
    watch("looking at classes", 0.0)
    plain = replace(task, train=task.train.to("cpu"))
    found = look_at(network, plain, recipe.zero, recipe.look_images, recipe.seeds[0])
    if not (asked.out / LOOK).exists():
        told = {name: values.tolist() for name, values in similarities(found).items()}
        write_sealed_json(asked.out / LOOK, {"class_names": list(task.class_names), **told})
    return found


def shop_of(recipe: ClasswiseRecipe, asked: Asked, task: Task, whole: Whole, network: nn.Module, look: Look) -> Shop:
    """What all members share."""
    making = making_of(recipe, network, asked.checkpoint_seconds)
    weights = "/".join(read_folder(whole.folder)[0].files.values())
    named = {"whole": weights, "data": task.fingerprint, "look": [recipe.look_images, recipe.zero, recipe.seeds[0]]}
    evidence = Evidence(look.activations, look.macs, look.carried)
    return Shop(task, whole, look.head, evidence, making, asked.out, named, asked.device)


def through_shared(
    recipe: ClasswiseRecipe, asked: Asked, shop: Shop, network: nn.Module, watch: Watch
) -> tuple[Found, Shop]:
    """See `classwise.shared.with_shared`. network: the whole one."""
    seed, making = recipe.seeds[0], shared_making(recipe, network, asked.checkpoint_seconds)
    plain = replace(shop.task, train=shop.task.train.to("cpu"))
    look = partial(look_at, task=plain, zero=recipe.zero, num_images=recipe.look_images, seed=seed)
    return with_shared(shop, making, seed, partial(engine_of, asked), look, watch)


@contextmanager
def engine_of(asked: Asked, shop: Shop) -> Any:
    """Workers that hold the shop. On a GPU the work is done in this process."""
    if asked.device != "cpu":
        yield Here(shop)  # type: ignore[arg-type]
        return
    for split in (shop.task.train, shop.task.val, shop.task.test):
        if isinstance(split, ArraySplit):
            split.ready  # noqa: B018 - made once here, so that workers share it
    with workers_of(asked.workers, shop) as engine:
        yield engine


def keep(best: Found, shop: Shop, out: Path) -> Members:
    """The chosen members, each in a folder of its own and all together in OUT."""
    for number, job in enumerate(best.trial.jobs):
        run, folder = run_for(job, shop), out / "members" / str(number)
        copy_saved(best.members[number].folder, folder)
        atomic_write(folder / CANDIDATES, read_bytes(run.folder / CANDIDATES))
    return save_joined(best, shop, out)


def check_claim(recipe: ClasswiseRecipe, out: Path) -> None:
    """Raises RunConflictError when `out` holds anything but this."""
    check_out(out, CLAIM)
    path = out / CLAIM
    if path.exists() and read_sealed_json(path).get("recipe") != recipe.model_dump(mode="json"):
        raise RunConflictError(f"{out}: holds a class-wise network of other settings; choose another --out.")


def claim(recipe: ClasswiseRecipe, task: Task, asked: Asked) -> None:
    """Write classwise.json where OUT is free. Raises RunConflictError when its data, files or device were others."""
    path, kind = asked.out / CLAIM, asked.device.partition(":")[0]
    cell = Cell(label=recipe.name, model=recipe.model, data=recipe.data, weights=recipe.weights)
    brought = brought_by(Recipe(name=recipe.name, cells=(cell,), seeds=recipe.seeds[:1]))
    own = {
        "recipe": recipe.model_dump(mode="json"),
        "data": task.fingerprint,
        "brought": brought,
        "device": kind,
    }
    if not path.exists():
        write_sealed_json(path, own | {"command": asked.command})
        return
    begun = read_sealed_json(path)
    if any(begun.get(name) != own[name] for name in ("data", "brought", "device")):
        raise RunConflictError(
            f"{asked.out}: was begun on other data, weights or another device; choose another folder with --out."
        )
