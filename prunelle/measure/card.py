"""Card, a currency: everything measured about one model. What was not measured is null."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import torch
from torch import nn

from prunelle.measure.accuracy import Evaluation
from prunelle.measure.environment import environment
from prunelle.measure.latency import Timing
from prunelle.measure.macs import count_macs
from prunelle.measure.params import count_params

CARD_VERSION = 1


@dataclass(frozen=True)
class Latency:
    """Milliseconds per call at this batch. ratio: time of the baseline over time of this, interleaved; above 1 =
    faster; ratio_low, ratio_high: its 95 % interval. Null where nothing was timed beside it."""

    median: float
    p95: float
    p99: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    num_samples: int
    batch: int
    threads: int
    runtime: str
    baseline: str | None = None


@dataclass(frozen=True)
class LayerCount:
    """One layer's weights and multiply-adds, all and those that are not zero."""

    layer: str
    params: int
    nnz: int
    macs: int
    macs_nonzero: int


@dataclass(frozen=True)
class Card:
    """Figures of one model.

    sparsity: zeros among all parameters. macs: multiply-adds of one image, of the shapes as they are; macs_nonzero:
    those whose weight is not zero, which only a sparse engine can skip. uncounted: operators without a counting rule,
    with calls. size_bytes: the saved folder. sizes_bytes: of the same network as dense_safetensors (zeros written
    out), saved, packed, and native (the library), each by os.stat. top1, top1_low, top1_high: fractions on the test
    split and their 95 % interval; loss: null where it is not finite; val_top1 on the validation split, by which choices
    are made.
    """

    model: str
    params: int
    nnz: int
    sparsity: float
    macs: int | None = None
    macs_nonzero: int | None = None
    uncounted: dict[str, int] = field(default_factory=dict)
    size_bytes: int | None = None
    sizes_bytes: dict[str, int | None] | None = None
    top1: float | None = None
    top1_low: float | None = None
    top1_high: float | None = None
    val_top1: float | None = None
    loss: float | None = None
    num_test: int | None = None
    latency_ms: Latency | None = None
    throughput: dict | None = None
    peak_memory_bytes: int | None = None
    diverged: bool = False
    layers: tuple[LayerCount, ...] = ()
    environment: dict = field(default_factory=environment)
    schema_version: int = CARD_VERSION

    def to_json(self) -> dict:
        return dataclasses.asdict(self)

    def with_timing(self, timing: Timing, batch: int, runtime: str, baseline: str | None = None) -> Card:
        """The card with its latency filled in. baseline: what the ratio compares with."""
        latency = Latency(
            median=timing.median_ms,
            p95=timing.p95_ms,
            p99=timing.p99_ms,
            ratio=timing.ratio if baseline else None,
            ratio_low=timing.ratio_low if baseline else None,
            ratio_high=timing.ratio_high if baseline else None,
            num_samples=timing.num_samples,
            batch=batch,
            threads=timing.threads,
            runtime=runtime,
            baseline=baseline,
        )
        return dataclasses.replace(self, latency_ms=latency)

    def with_accuracy(self, test: Evaluation, val_top1: float | None = None) -> Card:
        """The card with what `test` got right; read the test split once, when all choices are made."""
        low, high = test.interval
        return dataclasses.replace(
            self,
            top1=test.top1,
            top1_low=low,
            top1_high=high,
            loss=test.loss if math.isfinite(test.loss) else None,
            num_test=len(test.scores),
            val_top1=val_top1,
        )


def count(name: str, model: nn.Module, input_shape: tuple[int, ...] | None) -> Card:
    """A card with parameters and, where input_shape (C, H, W) is given, multiply-adds of one image.

    Where something is only simulated, the card's model says so beside the name: its figures are of float arithmetic.
    Raises ModelError when the model does not run on that shape.
    """
    pretended = simulations(model)
    if pretended:
        name = f"{name} (simulated: {', '.join(pretended)})"
    params = count_params(model)
    card = Card(name, params.params, params.nnz, params.sparsity)
    if input_shape is None:
        return card
    weight = next(model.parameters(), torch.empty(0))
    macs = count_macs(model, torch.zeros(1, *input_shape, device=weight.device, dtype=weight.dtype))
    layers = tuple(LayerCount(row.name, row.params, row.nnz, row.macs, row.macs_nonzero) for row in macs.layers)
    return dataclasses.replace(
        card, macs=macs.total, macs_nonzero=macs.nonzero, uncounted=dict(macs.uncounted), layers=layers
    )


def simulations(model: nn.Module) -> list[str]:
    """What the model only pretends, such as few-bit activations: forward pre-hooks that have an attribute `simulates`
    say it in words."""
    hooks = [hook for module in model.modules() for hook in module._forward_pre_hooks.values()]
    return sorted({hook.simulates for hook in hooks if hasattr(hook, "simulates")})
