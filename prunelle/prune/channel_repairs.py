"""Repairs as a cutting step calls them: `(pruned, dense, cuts, task, generator) -> nn.Module`, without training.

Each sees training images, augmented as the task augments them, of which `generator` draws which; both models stay as
they were.
"""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor, nn

from prunelle.data.task import Task
from prunelle.graph.cuts import Cuts
from prunelle.prune.repair import reconstruct, reestimate_batch_norm
from prunelle.seeds import generator as seeded

BATCH = 128


def batch_norm_repair(
    pruned: nn.Module, dense: nn.Module, cuts: Cuts, task: Task, generator: torch.Generator, num_images: int = 1024
) -> nn.Module:
    """The statistics of every batch norm, measured anew; see repair.reestimate_batch_norm."""
    return reestimate_batch_norm(pruned, training_images(task, generator, num_images))


def least_squares_repair(
    pruned: nn.Module, dense: nn.Module, cuts: Cuts, task: Task, generator: torch.Generator, num_images: int = 1024
) -> nn.Module:
    """The weights of layers that lost inputs, solved to give what the dense ones gave; see repair.reconstruct."""
    seed = generator.initial_seed() % 2**31
    return reconstruct(pruned, dense, cuts, training_images(task, generator, num_images), seed=seed)


def training_images(task: Task, generator: torch.Generator, num_images: int) -> list[Tensor]:
    """About so many augmented training images, in batches of 128 or, of a smaller set, in at least two."""
    size = min(BATCH, max(1, len(task.train) // 2))
    seed, device = generator.initial_seed(), generator.device
    epoch = task.train.epoch(
        size,
        order=seeded(seed, "order"),
        augment=lambda number: seeded(seed, "augment", number, device=device),
        drop_last=True,
    )
    return [images for images, _ in islice(epoch, max(2, -(-num_images // size)))]
