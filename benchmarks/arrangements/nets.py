"""What is trained: networks, masks, shares kept, and the arrangements that are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prunelle.data.task import Batch, Task
from prunelle.measure.params import prunable
from prunelle.models.load import build
from prunelle.prune.by_weight import magnitude
from prunelle.prune.select import per_layer
from prunelle.seeds import generator
from prunelle.tickets.trainer import PlainTrainer, Start
from prunelle.train.losses import Plain
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.step import Update

BATCH, MEMBERS = 128, 16
ADAM, SGD = ("adam", 1.2e-3), ("sgd", 0.05)
RULES = {"adam": Update(Plain(cross_entropy), Adam()), "sgd": Update(Plain(cross_entropy), Sgd(0.9))}
SPARSEST = 0.036


@dataclass(frozen=True)
class Net:
    """data: a word for load_task. sides: what is compared beside the loop. shares: kept. dense_steps: before masks are
    made. bar, sparse_bar: ratios to the loop that the best arrangement must reach, the latter at 3.6 % kept; None = to
    be not slower than two plain loops, each in a process."""

    data: str
    sides: tuple[str, ...]
    shares: tuple[float, ...]
    dense_steps: int
    bar: float | None = None
    sparse_bar: float | None = None


ALL = ("plain", "fused", "sparse")
NETS = {
    "lenet_300_100": Net("mnist", ALL, (0.012, SPARSEST, 0.1, 0.2, 0.4, 0.8, 1.0), 200, 2.7, 6.0),
    "lenet5": Net("mnist", ALL, (SPARSEST, 0.2, 1.0), 20),
    "resnet20": Net("cifar10", ("plain", "fused"), (0.2,), 5),
}


@dataclass(frozen=True)
class Case:
    """kept: a share for each member. orders: how many orders of the data the members see."""

    title: str
    optimizer: str
    lr: float
    kept: tuple[float, ...]
    orders: int = 1


@dataclass(frozen=True)
class Cell:
    """One arrangement. processes: of one thread; or one of `threads`."""

    side: str
    processes: int
    threads: int = 1

    def __str__(self) -> str:
        where = f"{self.processes} processes" if self.processes > 1 else f"1 process, {self.threads} thread"
        return f"{self.side}, {where}{'s' if self.threads > 1 else ''}"


def cells_of(net: Net) -> list[Cell]:
    return [Cell("loop", 1, 1), Cell("loop", 1, 2), Cell("loop", 2), *(Cell(s, p) for s in net.sides for p in (1, 2))]


def cases_of(net: Net) -> list[Case]:
    def at(title: str, rule: tuple[str, float], kept: Sequence[float], orders: int = 1) -> Case:
        return Case(f"{rule[0]}, {title}", *rule, tuple(kept), orders)

    rules = (ADAM, SGD) if net.bar else (SGD,)
    found = [at(f"{100 * s:g} % kept", rule, [s] * MEMBERS) for rule in rules for s in net.shares]
    if not net.bar:
        return found
    mix = torch.logspace(0, 1, MEMBERS, base=0.02 / 0.8).mul(0.8).tolist()
    found += [at("80 to 2 % kept", rule, mix) for rule in rules]
    return [*found, at("3.6 % kept, 16 orders", ADAM, [SPARSEST] * MEMBERS, MEMBERS)]


def endless(task: Task, seed: int) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from task.train.epoch(BATCH, order=generator(seed, "order", epoch), drop_last=True)
        epoch += 1


def starts_of(model: nn.Module, weights: dict[str, dict], case: Case) -> list[Start]:
    """Initial weights and masks of all members."""
    return [Start(weights["initial"][n], masks_of(weights["scores"][n], share)) for n, share in enumerate(case.kept)]


def masks_of(scores: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    return per_layer(scores, 1 - share) if share < 1 else {name: s == s for name, s in scores.items()}


def prepared(net: str, task: Task, masks: str) -> dict[str, dict]:
    """initial: weights of each member. scores: of each of its weights, from which masks are made."""
    initial: dict[int, dict] = {}
    for seed in range(MEMBERS):
        torch.manual_seed(seed)
        initial[seed] = build(net).state_dict()
    model = build(net)
    if masks == "random":
        draws = generator(0, "masks")
        return {
            "initial": initial,
            "scores": {
                n: {k: torch.rand(w.shape, generator=draws) for k, w in prunable(model).items()} for n in initial
            },
        }
    trainer = PlainTrainer(model, [Start(tensors) for tensors in initial.values()], RULES["adam"], task.input_shape)
    batches = endless(task, 0)
    for _ in range(NETS[net].dense_steps):
        trainer.step_([next(batches)] * MEMBERS, [1.2e-3] * MEMBERS, [0] * MEMBERS)
    trained = [trainer.tensors(n) for n in range(MEMBERS)]
    return {
        "initial": initial,
        "scores": {n: {k: magnitude(t[k]) for k in prunable(model)} for n, t in enumerate(trained)},
    }
