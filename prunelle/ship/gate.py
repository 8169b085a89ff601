"""The parity gate: no file leaves the house that does not compute what the model computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunelle.data.task import Metric, Split, correct
from prunelle.errors import LimitError, SettingError
from prunelle.seeds import generator
from prunelle.ship.frozen import frozen

Run = Callable[[Tensor], Tensor]
Batches = Callable[[], Iterator[Tensor]]

NOISE = "no data: outputs compared on noise only"
NUM_NOISE = 64
BATCH, SINGLES = 100, 16
"""A file is often fitted to batch 1 and run at others: the first images come one by one, the rest in hundreds."""


@dataclass(frozen=True)
class Limits:
    """max_error: largest difference of an output, as a share of max|logit|; min_equal: share of equal predictions;
    max_drop: points of top-1 that may be lost. None is not asked."""

    max_error: float | None
    min_equal: float
    max_drop: float | None = None


HALF = Limits(None, 0.995, 0.1)
LIMITS = {"fp32": Limits(1e-4, 0.9998), "int16": HALF, "bf16": HALF, "fp16": HALF, "int8": Limits(None, 0.985)}


@dataclass(frozen=True)
class Exam:
    """Images, and what the model gives for them: computed once, held against every file.

    batches: gives the images (B, C, H, W) in the same order each time. outputs: (N, classes), the model's.
    targets: (N,) or None for noise. where: which images, in words.
    """

    batches: Batches
    outputs: Tensor
    where: str
    targets: Tensor | None = None
    metric: Metric = correct


@dataclass(frozen=True)
class Parity:
    """How close a file is. error: largest difference over max|logit|. equal: share of predictions that are the
    model's. top1_before, top1_after: fractions, None on noise."""

    where: str
    num_images: int
    error: float
    equal: float
    top1_before: float | None = None
    top1_after: float | None = None

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


def exam_on(model: nn.Module, split: Split, metric: Metric, where: str) -> Exam:
    """The exam of a whole split, in stored order. The model's outputs must be (N, classes)."""

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for number, (images, targets) in enumerate(split.epoch(BATCH)):
            sizes = [1] * min(SINGLES, len(images)) if number == 0 else []
            sizes += [len(images) - len(sizes)] * (len(images) > len(sizes))
            yield from zip(images.split(sizes), targets.split(sizes), strict=True)

    targets = torch.cat([targets for _, targets in pairs()])
    return _exam(model, lambda: (images for images, _ in pairs()), where, targets, metric)


def exam_on_noise(model: nn.Module, input_shape: tuple[int, ...], seed: int = 0) -> Exam:
    """The exam where there is no data: normal noise, which shows a wrong kernel but no accuracy."""
    noise = torch.randn(NUM_NOISE, *input_shape, generator=generator(seed, "noise"))
    parts = noise.split([1, 1, NUM_NOISE - 2])
    return _exam(model, lambda: iter(parts), NOISE)


def hold(what: str, run: Run, exam: Exam, precision: str) -> Parity:
    """How close `run` is to the model; the limits are those of its precision, a key of LIMITS.

    what: the file, as its error names it. Raises LimitError with the figure where a limit is not kept, an output is
    NaN or infinite, or every image gets the same output; SettingError for a precision below fp32 on noise, which
    cannot tell what it costs.
    """
    if exam.targets is None and LIMITS[precision].max_error is None:
        raise SettingError(f"{what}: what {precision} costs shows on images only; pass --data.")
    return judge(what, answers(what, run, exam), exam, precision)


def judge(what: str, outputs: Tensor, exam: Exam, precision: str) -> Parity:
    """As `hold`, of outputs (N, classes) that `answers` gave."""
    limits = LIMITS[precision]
    scale = float(exam.outputs.abs().max())
    parity = Parity(
        exam.where,
        len(outputs),
        float((outputs - exam.outputs).abs().max()) / scale if scale else 0.0,
        float((outputs.argmax(1) == exam.outputs.argmax(1)).double().mean()),
    )
    if exam.targets is not None:
        before, after = (float(exam.metric(o, exam.targets).double().mean()) for o in (exam.outputs, outputs))
        parity = dataclasses.replace(parity, top1_before=before, top1_after=after)
    if broken := complaint(parity, limits):
        raise LimitError(f"{what}: {broken} ({precision}, {parity.num_images:,} images); it is not shipped.")
    return parity


def complaint(parity: Parity, limits: Limits) -> str:
    """The first limit that is not kept, with its figure; empty when all are.

    >>> complaint(Parity("test", 100, 2e-5, 0.97, 0.9, 0.9), LIMITS["int8"])
    "97.00 % of the predictions are the model's, at least 98.5 % must"
    """
    if limits.max_error is not None and not parity.error <= limits.max_error:
        return f"an output is off by {parity.error:.3g} of max|logit|, at most {limits.max_error:g} is allowed"
    if parity.top1_before is None or parity.top1_after is None:
        return ""
    if parity.equal < limits.min_equal:
        return (
            f"{floored(parity.equal)} % of the predictions are the model's, at least {100 * limits.min_equal:g} % must"
        )
    drop = 100 * (parity.top1_before - parity.top1_after)
    if limits.max_drop is not None and drop > limits.max_drop + 1e-9:
        return f"top-1 falls by {drop:.3f} points, at most {limits.max_drop:g} are allowed"
    return ""


def floored(share: float) -> str:
    """A share in percent that is never rounded up to a limit it missed.

    >>> floored(0.999799), floored(1.0)
    ('99.97', '100.00')
    """
    return f"{int(share * 10_000 + 1e-9) / 100:.2f}"


def answers(what: str, run: Run, exam: Exam) -> Tensor:
    """(N, classes) of a file, every one finite and not all alike. Raises LimitError."""
    outputs = torch.cat([run(images).float() for images in exam.batches()])
    if outputs.shape != exam.outputs.shape:
        raise LimitError(
            f"{what}: gives outputs of shape {tuple(outputs.shape)} where the model gives "
            f"{tuple(exam.outputs.shape)}; it is not shipped."
        )
    bad = int((~outputs.isfinite()).any(1).sum())
    if bad:
        raise LimitError(
            f"{what}: {bad:,} of {len(outputs):,} images give NaN or infinity, none may; it is not shipped."
        )
    if len(outputs) > 1 and torch.equal(outputs, outputs[:1].expand_as(outputs)):
        raise LimitError(f"{what}: all of {len(outputs):,} images give the same output, a constant; it is not shipped.")
    return outputs


def smaller(what: str, size_bytes: int, dense_bytes: int) -> None:
    """Raises LimitError when a file that is to be small is not smaller than the dense weights as safetensors."""
    if size_bytes >= dense_bytes:
        raise LimitError(
            f"{what}: is {size_bytes:,} bytes and the dense safetensors {dense_bytes:,}, it must be smaller; "
            "it is not shipped."
        )


def _exam(
    model: nn.Module, batches: Batches, where: str, targets: Tensor | None = None, metric: Metric = correct
) -> Exam:
    net = frozen(model)
    with torch.inference_mode():
        outputs = torch.cat([net(images).float() for images in batches()])
    outputs = outputs.clone()
    return Exam(batches, outputs, where, targets, metric)
