"""What a score of channels may ask for besides the weight, gathered once however often it is asked."""

from __future__ import annotations

import copy
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunelle.data.task import Batch, Task
from prunelle.errors import SettingError
from prunelle.graph.sets import Tied, analyse, place_of
from prunelle.graph.trace import trace
from prunelle.graph.walk import Producer
from prunelle.prune.by_activation import Activations, Key, channel_activations, key_of
from prunelle.prune.producer_weight import weight_of
from prunelle.prune.statistics import mean_gradients
from prunelle.seeds import generator as seeded

KNOWN = ("gradient", "scale", "zeros", "mean", "generator")
NUM_IMAGES, BATCH = 1024, 64


class Evidence:
    """What is known of one model's channels. Final.

    gradient: as the weight, the loss's gradient averaged over training batches. scale: (n,) the size of the scale that
    the norm behind a channel has, NaN without. zeros, mean: (n,) see by_activation, on plain training images.
    generator: on the CPU.
    """

    def __init__(self, model: nn.Module, task: Task | None, seed: int, title: str) -> None:
        self.model, self.task, self.seed, self.title = model, task, seed, title
        self.tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
        self.tensors |= dict(model.named_buffers(remove_duplicate=False))

    def weight(self, tied: Tied, producer: Producer) -> Tensor:
        """(n, ...) the axis that makes channels first."""
        return weight_of(tied, producer, self.tensors).detach().movedim(producer.axis, 0)

    def given(self, need: str, tied: Tied, producer: Producer, generator: torch.Generator) -> Any:
        """One of KNOWN for one layer. Raises SettingError without a task where data is needed, or where the layer's
        weight is computed so that it has no gradient of its own."""
        if need == "generator":
            return generator
        weight = self.weight(tied, producer)
        if need == "scale":
            return self.scale(tied, producer).to(weight)
        if need == "gradient":
            return self.gradient(tied, producer)
        summary = self.activations[key_of(producer)].all
        if summary is None:
            raise SettingError(
                f"score {self.title}: what {place_of(tied, producer)} gives could not be read; name it in skip, or "
                "take a score that looks at weights."
            )
        return (summary.zeros if need == "zeros" else summary.mean).to(weight.device)

    def scale(self, tied: Tied, producer: Producer) -> Tensor:
        """Of the norm that reads just these channels; else the mean over all norms that read a channel's unit."""
        direct = [name for name, labels in tied.state.norms if np.array_equal(labels, producer.labels)]
        if direct:
            return torch.stack([self.tensors[name].detach().abs().double().cpu() for name in direct]).mean(0)
        root = tied.components.root
        total, count = np.zeros(len(root)), np.zeros(len(root))
        for name, labels in tied.state.norms:
            np.add.at(total, root[labels], self.tensors[name].detach().abs().double().cpu().numpy())
            np.add.at(count, root[labels], 1)
        units = root[producer.labels]
        with np.errstate(invalid="ignore"):
            return torch.from_numpy(np.where(tied.components.pinned[units], np.nan, total[units] / count[units]))

    def gradient(self, tied: Tied, producer: Producer) -> Tensor:
        """Carried through whatever only arranges parameters anew, such as a concatenation."""
        return weight_of(tied, producer, self.gradients, self.title).movedim(producer.axis, 0)

    @cached_property
    def gradients(self) -> dict[str, Tensor]:
        task = self.needs_task()
        copied = copy.deepcopy(self.model)
        weights = {name: p for name, p in copied.named_parameters() if p.is_floating_point()}
        for weight in weights.values():
            weight.requires_grad_(True)
        found = mean_gradients(copied, weights, task, order=seeded(self.seed, "gradients"))
        names = {id(p): name for name, p in weights.items()}
        return {name: found[names[id(p)]] for name, p in copied.named_parameters(remove_duplicate=False)}

    @cached_property
    def activations(self) -> dict[Key, Activations]:
        """By the model's trace with a batch of its own size."""
        batches = self.batches()
        tied = analyse(self.model, trace(self.model, batches[0][0]))
        return channel_activations(self.model, tied, batches)

    def batches(self) -> list[Batch]:
        """Plain training images, drawn from all of train."""
        task = self.needs_task()
        size = min(BATCH, len(task.train))
        epoch = task.train.epoch(size, order=seeded(self.seed, "activations"), drop_last=True)
        return list(islice(epoch, -(-NUM_IMAGES // size)))

    def needs_task(self) -> Task:
        if self.task is None:
            raise SettingError(f"score {self.title}: looks at training images, so a task must be given.")
        return self.task
