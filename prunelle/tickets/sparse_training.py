"""Trains only the weights that are kept: forward, backward, gradients and optimizer, in C on one thread.

Updates a second beside a plain PyTorch loop on lenet_300_100, Adam, batches of 128, one thread each, at 1.2, 3.6, 10,
20, 40, 80 and 100 % kept: 127, 39, 8.5, 5.1, 3.2, 1.7 and 1.7 times as many (benchmarks/tickets_throughput.py, on a
busy machine). So it pays there at any share; in LeNet-5 up to about 80 %. Inputs that are the same in the whole batch
are not skipped: a third of MNIST's pixels are, but at 10 % kept or less under 2 % of the largest weights read one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prunelle.data.task import Batch
from prunelle.errors import DataError, InputError, ShapeError, WeightsError
from prunelle.ship.compiler import find_compiler, target_of
from prunelle.ship.kernel_trials import aligned
from prunelle.tickets.sparse_chain import Link, chain_of, check_rule
from prunelle.tickets.sparse_library import DOUBLE, INT, POINTER, MemberC, TaskC, library, rule_struct
from prunelle.tickets.sparse_member import begin_member
from prunelle.tickets.sparse_sizes import sizes_of_chain, vectors_needed
from prunelle.tickets.trainer import Start
from prunelle.train.optimizers import State
from prunelle.train.step import Update


def trainable(model: nn.Module, rule: Update) -> str | None:
    """Why a network or an update cannot be trained by its kept weights only, as a sentence; None where it can."""
    try:
        chain_of(model)
        check_rule(rule)
        find_compiler()
    except InputError as error:
        return str(error)
    return None


class SparseTrainer:
    """A `trainer.Trainer` whose members hold and step nothing but their kept weights and the biases. Final.

    Same weights as of `trainer.PlainTrainer`, but for the order of float32 sums. That decides, as another processor
    does, where a ReLU's input is within rounding of 0 or two pixels of a window are as near: rarely in lenet_300_100,
    within 60 updates in LeNet-5, where PlainTrainer leaves float64 in the same way. An input that is not finite spoils
    a member only where one of its kept weights reads it.
    """

    def __init__(
        self, model: nn.Module, starts: Sequence[Start], rule: Update, input_shape: tuple[int, int, int]
    ) -> None:
        """Raises ModelError or SettingError with the reason where `trainable` gives one, ShapeError where images do not
        fit, WeightsError for a mask of something else, MissingExtraError or WorkError without a compiler that works."""
        self.links = chain_of(model)
        check_rule(rule)
        self.sizes = sizes_of_chain(self.links, input_shape)
        for start in starts:
            check_masks(self.links, start)
        self.names = [name for name, _ in model.named_parameters()]
        self.rule = rule_struct(rule)
        width = target_of("native").vector_bytes
        self.members = [
            begin_member(self.links, self.sizes, start, rule.optimizer, self.names, width) for start in starts
        ]
        self.run = library(width)
        self.input_shape = tuple(input_shape)
        self.size, self.space, self.held = 0, 0, torch.empty(0)
        self.keep_(range(len(starts)))

    @property
    def num_members(self) -> int:
        return len(self.members)

    def step_(self, batches: Sequence[Batch], lrs: Sequence[float], seeds: Sequence[int]) -> Tensor:
        """As `trainer.Trainer`. Raises ShapeError for images of another shape or batches of several sizes, DataError
        for a label that is no class; nothing is updated then."""
        size, count = len(batches[0][0]), self.num_members
        ready = {id(images): self.rows_of(images, size) for images, _ in batches}
        images = [ready[id(images)].data_ptr() for images, _ in batches]
        labels = [labels_of(labels, size) for _, labels in batches]
        losses = torch.empty(count)
        task = TaskC(
            count, size, self.sizes[0].inputs, (INT * count)(*sorted(range(count), key=images.__getitem__)),
            (POINTER * count)(*images), (POINTER * count)(*(y.data_ptr() for y in labels)), (DOUBLE * count)(*lrs),
            losses.data_ptr(), self.gradients.data_ptr(), self.space_for(size),
        )  # fmt: skip
        wrong = self.run(self.structs, ctypes.byref(self.rule), ctypes.byref(task))
        if wrong >= 0:
            low, high = map(int, labels[wrong].aminmax())
            raise DataError(
                f"labels of member {wrong}: lie in {low}..{high}, must in 0..{self.links[-1].outputs - 1}; build the "
                "network for that many classes."
            )
        return losses

    def tensors(self, member: int) -> dict[str, Tensor]:
        whole = self.members[member].spread("weights")
        return {name: whole[name] for name in self.names}

    def optimizer(self, member: int) -> State:
        return self.members[member].state(self.names)

    def keep_(self, members: Sequence[int]) -> None:
        self.members = [self.members[m] for m in members]
        self.structs = (MemberC * len(members))(*(member.struct for member in self.members))
        self.gradients = torch.empty(max((len(member.values["weights"]) for member in self.members), default=0))

    def rows_of(self, images: Tensor, size: int) -> Tensor:
        """The images flat, as C reads them. Raises ShapeError."""
        shape, wanted = tuple(images.shape), (size, *self.input_shape)
        if shape != wanted or images.dtype != torch.float32 or not images.is_cpu:
            raise ShapeError(
                f"sparse training: images are {shape} {images.dtype} on {images.device}, must be {wanted} "
                "torch.float32 on cpu, as many for every member; train other ones under masks."
            )
        return images.contiguous()

    def space_for(self, size: int) -> int:
        """Where the turned images and every layer's rows lie, a batch of `size` images padded to a vector."""
        if size > self.size:
            rows = vectors_needed(self.links, self.sizes)
            self.space, self.held = aligned(4 * rows * -(-size // 16) * 16)
            self.size = size
        return self.space


def labels_of(labels: Tensor, size: int) -> Tensor:
    """The labels as C reads them. Raises ShapeError."""
    if tuple(labels.shape) != (size,) or labels.dtype != torch.int64 or not labels.is_cpu:
        raise ShapeError(
            f"sparse training: labels are {tuple(labels.shape)} {labels.dtype} on {labels.device}, must be ({size},) "
            "torch.int64 on cpu; train other ones under masks."
        )
    return labels.contiguous()


def check_masks(links: Sequence[Link], start: Start) -> None:
    """Raises WeightsError for a mask that is not of a layer's weight."""
    shapes = {link.weight: link.shape for link in links}
    for name, mask in start.kept.items():
        if tuple(mask.shape) != shapes.get(name) or mask.dtype != torch.bool:
            allowed = ", ".join(f"{weight} {shape}" for weight, shape in shapes.items())
            raise WeightsError(
                f"{name}: its mask is {tuple(mask.shape)} {mask.dtype}, must be torch.bool of one of {allowed}; leave "
                "it out to train it whole."
            )
