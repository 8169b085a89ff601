"""What the whole network says of a few views of the training images: asked once, for all members that imitate it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from prunelle.classwise.member_task import member_targets
from prunelle.classwise.teacher import widened
from prunelle.data.arrays import ArraySplit
from prunelle.data.groups import Balanced, picked
from prunelle.data.task import Batch, Split
from prunelle.measure.accuracy import EVAL_BATCH
from prunelle.models.members import covers
from prunelle.runs import Run
from prunelle.seeds import generator
from prunelle.train.precision import Precision

MOST_BYTES = 1024**3
"""Of all views and answers together; above it the network is asked at each update instead."""
STAGE = "answers"


@dataclass(frozen=True, eq=False)
class Answers:
    """num_views: of each image. shown: all first views, then all second ones, (num_views * N, C, H, W); augmented
    already. outputs: of the whole network, (num_views * N, classes) float32."""

    num_views: int
    shown: ArraySplit = field(repr=False)
    outputs: Tensor = field(repr=False)


def views_held(split: Split, num_views: int, num_classes: int) -> int:
    """How many of `num_views` an image can have: 0 in a split that is not held in memory or whose views, with the
    answers, would take more than MOST_BYTES; at most 1 where nothing is augmented."""
    if not isinstance(split, ArraySplit):
        return 0
    if split.augment is None:
        num_views, copied = min(1, num_views), 0
    else:
        copied = split.images.nbytes
    return num_views if num_views * (copied + 4 * len(split) * num_classes) <= MOST_BYTES else 0


def views_of(split: ArraySplit, num_views: int, seed: int) -> ArraySplit:
    """`num_views` augmented copies of every image; of a split without augmentation the images themselves."""
    if split.augment is None:
        return split
    images = split.images.new_empty((num_views * len(split), *split.images.shape[1:]))
    for view in range(num_views):
        for number, part in enumerate(split.images.split(EVAL_BATCH)):
            begin = view * len(split) + number * EVAL_BATCH
            draws = generator(seed, "view", view, number, device=part.device)
            images[begin : begin + len(part)] = split.augment(part, draws)
    return replace(split, images=images, labels=split.labels.repeat(num_views), augment=None)


@torch.no_grad()
def asked(
    whole: nn.Module,
    shown: ArraySplit,
    precision: Precision,
    run: Run,
    watch: Callable[[float], None],
    checkpoint_seconds: float = 20.0,
) -> Tensor:
    """Outputs (N, classes) float32 of `whole` in eval mode, kept in the run's folder: asked again they are read.

    Interrupted, it goes on where it was. watch: is told the share that is done. Raises BusyError, CorruptFileError.
    """
    whole = whole.to(run.device).eval()
    with run.locked():
        stored = run.load_checkpoint(STAGE)
        said = [] if stored is None else [stored[0]["outputs"]]
        done = sum(map(len, said))
        saved_at = time.monotonic()
        for images, _ in shown.epoch(EVAL_BATCH, start=-(-done // EVAL_BATCH)):
            with precision.autocast(images.device):
                said.append(whole(images).float())
            watch(sum(map(len, said)) / len(shown))
            if time.monotonic() - saved_at > checkpoint_seconds:
                run.save_checkpoint(STAGE, {"outputs": torch.cat(said)}, {})
                saved_at = time.monotonic()
        if not run.done:
            run.save_checkpoint(STAGE, {"outputs": torch.cat(said)}, {})
            run.finish({"num_images": len(shown)})
    return torch.cat(said)


@dataclass(frozen=True, eq=False)
class Told(Split):
    """A member's training split whose targets bring the whole network's answer; see losses.ToldDistillation.

    Targets (N, 1 + outputs) float32: the member's class, then `teacher.widened`. Each epoch shows an image in one of
    its views, drawn by `order`; without it in the first.
    """

    split: Split = field(repr=False)
    group: tuple[int, ...]
    answers: Answers = field(repr=False)

    @cached_property
    def balanced(self) -> Balanced | None:
        return None if covers(self.group, self.answers.outputs.shape[1]) else Balanced(self.split, self.group)

    def __len__(self) -> int:
        return len(self.split if self.balanced is None else self.balanced)

    def epoch(
        self,
        batch_size: int,
        *,
        order: torch.Generator | None = None,
        augment: Callable[[int], torch.Generator] | None = None,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        images = torch.arange(len(self.split)) if self.balanced is None else self.balanced.draw(order)
        if order is not None:
            images = images + len(self.split) * self.draw_views(len(images), order)
        return self.with_targets(images).epoch(batch_size, order=order, start=start, drop_last=drop_last)

    def with_targets(self, indices: Tensor) -> ArraySplit:
        """The shown images (n,), each with its target."""
        shown, outputs = picked(self.answers.shown, indices), self.answers.outputs
        assert isinstance(shown, ArraySplit)
        own = member_targets(shown.labels, self.group, outputs.shape[1])
        answers = widened(outputs[indices.to(outputs.device)], self.group).to(own.device)
        return replace(shown, labels=torch.cat([own[:, None].float(), answers], 1))

    def draw_views(self, num: int, order: torch.Generator) -> Tensor:
        """(num,) int64."""
        return torch.randint(self.answers.num_views, (num,), generator=order)

    def to(self, device: str | torch.device) -> Told:
        shown = self.answers.shown.to(device)
        answers = replace(self.answers, shown=shown, outputs=self.answers.outputs.to(device))
        return replace(self, split=self.split.to(device), answers=answers)
