"""Training that drives whole channels to zero before they are cut: a group lasso over units."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn

from prunelle.data.task import Task
from prunelle.errors import SettingError
from prunelle.graph.folds import short
from prunelle.graph.sets import Tied, analyse
from prunelle.graph.ties import Labels
from prunelle.graph.trace import trace
from prunelle.graph.value import Value
from prunelle.prune.channel_steps import example_of
from prunelle.prune.channels import check_skip
from prunelle.prune.reading_places import NORMS
from prunelle.runs import Run
from prunelle.train.identity import identity
from prunelle.train.loop import fit_
from prunelle.train.settings import TrainSettings


@dataclass(frozen=True)
class GroupSparse:
    """Train with strength * sum over units of sqrt(size) * |entries of the unit|_2 added to the loss.

    A unit's entries are what makes its channels: scales and shifts of the norms behind its layers, the rows (and
    biases) of layers without a norm. The penalty acts by a proximal step after each update, which shortens every
    group by lr * strength * sqrt(size) and sets it to 0 when it is shorter; rows in front of a norm are left out, since
    their length does not change what the network gives. Prune with batch_norm_scale afterwards: what is 0 goes first,
    and nothing changes. skip: paths of modules whose channels are left alone.
    Source: Yuan & Lin 2006 (group lasso); Wen 2016, arXiv:1608.03665, by structure; Liu 2017, arXiv:1708.06519, on
    norm scales one by one; the proximal step as in Parikh & Boyd 2014, section 6.5.4.
    """

    strength: float
    settings: TrainSettings
    skip: tuple[str, ...] = ()
    name: str = "group_sparse"

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise SettingError(f"{self.name}: strength is {self.strength}, must be 0 or more; 0 is plain training.")

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        begun = identity(self, model)
        model = copy.deepcopy(model).to(run.device)
        check_skip(model, self.skip)
        tied = analyse(model, trace(model, example_of(task)), skip=self.skip)
        per_epoch = task.train.num_batches(self.settings.batch_size, drop_last=True)
        shrinking = ShrunkenGroups(
            groups_of(tied, dict(model.named_parameters(remove_duplicate=False))),
            lambda step: self.strength * self.settings.lr_at(step - 1, per_epoch),
        )
        fit_(model, task, self.settings, run, self.name, shrinking, begun)
        return model


@dataclass(frozen=True)
class Groups:
    """rows: for each tensor the axis along which its entries belong to groups, and (n,) the group of each index;
    0 belongs to none. sizes: (groups,) how many numbers each group has."""

    rows: list[tuple[nn.Parameter, int, Tensor]]
    sizes: Tensor

    def lengths(self) -> Tensor:
        """(groups,) Euclidean length of each, 0 for group 0."""
        total = torch.zeros_like(self.sizes)
        for tensor, axis, group in self.rows:
            total.index_add_(0, group, squares(tensor, axis).to(total))
        total[0] = 0
        return total.sqrt()


def squares(tensor: Tensor, axis: int) -> Tensor:
    """(n,) the sum of squares at each index of an axis."""
    others = [position for position in range(tensor.ndim) if position != axis]
    return tensor.detach().square().sum(others) if others else tensor.detach().square()


def groups_of(tied: Tied, parameters: Mapping[str, nn.Parameter]) -> Groups:
    """One group for each unit of every set."""
    root = tied.components.root
    units = np.concatenate([np.zeros(1, dtype=np.int64), *[one.units for one in tied.sets]])
    number = np.zeros(len(root), dtype=np.int64)
    number[units] = np.arange(len(units))
    rows: dict[tuple[str, int], tuple[nn.Parameter, int, Tensor]] = {}
    for name, axis, labels in entries(tied):
        parameter = parameters.get(name)
        group = torch.from_numpy(number[root[labels]])
        if parameter is not None and group.any():
            rows[name, axis] = parameter, axis, group.to(parameter.device)
    device = next(iter(rows.values()))[0].device if rows else None
    sizes = torch.zeros(len(units), dtype=torch.float64, device=device)
    for tensor, axis, group in rows.values():
        sizes.index_add_(0, group, squares(torch.ones_like(tensor), axis).double())
    return Groups(list(rows.values()), sizes)


def entries(tied: Tied) -> Iterator[tuple[str, int, Labels]]:
    """(name, axis, labels) of the tensors that make channels: a norm's scale and shift, or a weight and its bias where
    no norm reads just these channels."""
    normed: set[bytes] = set()
    for node, value in tied.state.values.items():
        kind = short(node)
        if kind in NORMS and isinstance(value, Value):
            first = 2 if kind == "group_norm" else 1
            labels = tied.state.values[node.args[0]].axes[1].labels  # type: ignore[index,union-attr]
            given = [named(tied, node, first + place) for place in (0, 1)]
            if given[0]:
                normed.add(labels.tobytes())
            yield from ((name, 0, labels) for name in given if name)
    for producer in (one for each in tied.sets for one in each.producers):
        if producer.labels.tobytes() not in normed:
            weight = tied.graph.tensors.get(producer.weight.name)
            if weight:
                yield weight, producer.axis, producer.labels
            bias = named(tied, producer.node, 2)
            if bias and len(tied.state.tensors[bias].axes[0]) == len(producer.labels):
                yield bias, 0, producer.labels


def named(tied: Tied, node: fx.Node, place: int) -> str:
    """The parameter that is an argument of a node; '' where there is none."""
    argument = node.args[place] if len(node.args) > place else None
    return tied.graph.tensors.get(argument.name, "") if isinstance(argument, fx.Node) else ""


class ShrunkenGroups:
    """A train.constraint.Constraint: after each update every group is shortened. Final.

    by: number of updates done -> by how much a group of size 1 is shortened.
    """

    def __init__(self, groups: Groups, by: Callable[[int], float]) -> None:
        self.groups, self.by = groups, by
        self.weights = groups.sizes.sqrt()

    def start_(self, step: int, state: dict[str, Tensor]) -> None:
        pass

    @torch.no_grad()
    def after_update_(self, step: int) -> None:
        lengths = self.groups.lengths()
        by = self.by(step) * self.weights
        if not by.any():
            return
        kept = (1 - by / lengths.clamp_min(1e-30)).clamp_min(0)
        kept[0] = 1
        for tensor, axis, group in self.groups.rows:
            shape = [-1 if position == axis else 1 for position in range(tensor.ndim)]
            tensor.mul_(kept[group].to(tensor).view(shape)).add_(0.0)  # -0 becomes +0

    def state(self) -> dict[str, Tensor]:
        return {}

    def settled(self, step: int) -> bool:
        return True
