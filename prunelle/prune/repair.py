"""Mending a network that lost channels or blocks without training it: norms measured anew, layers solved anew."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunelle.errors import ModelError, SettingError, ShapeError
from prunelle.graph.cuts import Cuts
from prunelle.graph.residuals import evaluating
from prunelle.prune.least_squares import Layer, Moments, draw_places, groups, input_rows, output_rows, solve
from prunelle.prune.passes import Trail, outputs_on_the_way, reached

CHECK_EVERY = 8
"""One batch in so many judges the solutions instead of making them."""
HELD_BYTES = 2**28
"""Wanted outputs that are held at once; the more, the fewer passes of the dense network."""
FEW = 8
"""Examples that tell which layers have changed."""
SAME = 1e-5
"""Outputs that differ by less than this share of the largest are the dense ones."""


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    """A copy in which the statistics of every batch norm are those of `batches`; all else is as it was.

    batches: what the model is called with, one after another, on its device. Training images must come augmented as
    they were in training: plain ones cost an unpruned CIFAR-10 ResNet-20 2.7 points. The mean over batches of each
    batch's mean and (unbiased) variance is taken, as if momentum were 1 / (number of the batch). Other modules run as
    in eval mode, so dropout is off. A model without such statistics comes back as an equal copy. Raises SettingError
    when there is no batch.
    Source: "adaptive batch norm", arXiv:2007.02491.
    """
    check(batches)
    model = copy.deepcopy(model)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return model
    momenta = [norm.momentum for norm in norms]
    with evaluating(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.training = True
        for batch in batches:
            model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


@torch.no_grad()
def reconstruct(
    pruned: nn.Module,
    dense: nn.Module,
    cuts: Cuts,
    batches: Sequence[Tensor],
    *,
    num_places: int = 64,
    seed: int = 0,
) -> nn.Module:
    """A copy of `pruned` whose layers give what those of `dense` give, as nearly as least squares can.

    pruned: what `cuts` made of `dense`; both stay as they were. batches: what both are called with, examples along
    axis 0, on their device (augmented training images, a thousand or more); one in CHECK_EVERY, or the last, only
    judges. num_places: pixels or tokens that are drawn, by `seed`, of every example.
    Layer after layer, in the order they run, every convolution and linear layer whose output is no longer the dense
    one's is solved: min |W x - y|^2 + ridge |W - W_pruned|^2, x its inputs in the network as mended so far, y the
    dense outputs of the channels it kept. So later layers mend what earlier ones could not. A constant goes into the
    bias, or into the mean of the batch norm that follows, which takes the dense norm's statistics. Of several ridges
    the one that is best on the judging batches is taken; a layer that none makes better there stays as it is.
    Left alone are layers that run more than once, share their weight, are parametrised or have a forward of their
    own. Zeros among single weights do not stay. Time: for each layer, the pruned network up to it; and the dense one
    as often as HELD_BYTES of wanted outputs fill up.
    Raises SettingError without two batches, ModelError or ShapeError when `cuts` do not lead from dense to pruned.
    Source: the reconstruction step of arXiv:1707.06168, layer by layer on the pruned network's inputs as there; here
    every later layer is solved, not only those whose input channels went, and nothing is selected by it.
    """
    check(batches, 2)
    mended = copy.deepcopy(pruned)
    with evaluating(mended), evaluating(dense):
        for several in bunches(changed(mended, dense, cuts, batches[0][:FEW]), num_places, batches):
            wanted = [
                outputs_on_the_way(dense, {one.name: one.rows(num_places, seed + number) for one in several}, batch)
                for number, batch in enumerate(batches)
            ]
            for one in several:
                one.mend_(mended, batches, [each.pop(one.name) for each in wanted])
    return mended


@dataclass(frozen=True)
class Changed:
    """A layer whose output is not the dense one's. kept: (k,) the dense outputs that it still has. norm: the batch
    norm that its output goes to, and dense_norm that norm before the cut. num_places: pixels or tokens of
    an example."""

    name: str
    layer: Layer
    kept: Tensor
    norm: _BatchNorm | None
    dense_norm: _BatchNorm | None
    num_places: int

    def rows(self, num_places: int, seed: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """What is kept of the dense layer's output: the places that were drawn, and the rows there."""

        def take(outputs: Tensor) -> tuple[Tensor, Tensor]:
            where = draw_places(self.layer, outputs, num_places, torch.Generator().manual_seed(seed))
            return where, output_rows(self.layer, outputs, where, self.kept)

        return take

    def mend_(self, model: nn.Module, batches: Sequence[Tensor], wanted: list[tuple[Tensor, Tensor]]) -> None:
        """Solve for the wanted rows of every batch, and write the constant into the bias or the norm.

        model: what the layer is part of.
        """
        judging = set(range(CHECK_EVERY - 1, len(batches), CHECK_EVERY)) or {len(batches) - 1}
        made, judge = Moments(), Moments()
        for number, (batch, (where, rows)) in enumerate(zip(batches, wanted, strict=True)):
            moments = judge if number in judging else made
            moments.add_(input_rows(self.layer, reached(model, self.name, batch), where), rows)
        weight, bias = self.layer.weight, self.layer.bias
        start = weight.reshape(groups(self.layer), -1, weight[0].numel())
        constant = bias if bias is not None else weight.new_zeros(len(weight)) if self.norm else None
        found = solve(start, None if constant is None else constant.reshape(start.shape[:2]), made, judge)
        if found is None:
            return
        weight.copy_(found.weight.reshape(weight.shape))
        if bias is not None:
            bias.copy_(found.constant)
        if self.norm is not None and self.dense_norm is not None:
            mean, var = self.dense_norm.running_mean, self.dense_norm.running_var
            assert self.norm.running_mean is not None and self.norm.running_var is not None
            assert mean is not None and var is not None
            self.norm.running_mean.copy_(mean[self.kept] - (0 if bias is not None else found.constant))
            self.norm.running_var.copy_(var[self.kept])


def changed(pruned: nn.Module, dense: nn.Module, cuts: Cuts, inputs: Tensor) -> list[Changed]:
    """The layers to solve, in the order they run."""
    before, after = Trail(dense, inputs), Trail(pruned, inputs)
    names = dict(pruned.named_modules())
    found = []
    for name, output in after.outputs.items():
        layer: Any = names[name]
        if name not in before.outputs:
            raise ModelError(
                f"reconstruct: the dense model runs no layer {name!r} of its own weight once; give the model that "
                "was cut."
            )
        kept = kept_outputs(dense.get_submodule(name).weight, cuts, name)  # type: ignore[arg-type]
        if len(kept) != len(layer.weight):
            raise ShapeError(
                f"reconstruct: {name} has {len(layer.weight)} outputs, the cuts keep {len(kept)}; give the cuts that "
                "made this model."
            )
        axis = -1 if isinstance(layer, nn.Linear) else 1
        wanted = before.outputs[name].index_select(axis, kept)
        if wanted.shape != output.shape:
            continue  # it works on another number of examples, which nothing pairs
        if float((wanted - output).abs().max()) > SAME * float(wanted.abs().max()):
            norms = after.norms.get(name), before.norms.get(name)
            norm, dense_norm = norms if all(norms) else (None, None)
            found.append(Changed(name, layer, kept, norm, dense_norm, output[0].numel() // output.shape[axis]))
    return found


def bunches(layers: list[Changed], num_places: int, batches: Sequence[Tensor]) -> Iterator[list[Changed]]:
    """Layers in their order, as many at a time as have their wanted rows held in HELD_BYTES, and at least one."""
    examples = sum(map(len, batches))
    held = 0
    bunch: list[Changed] = []
    for one in layers:
        size = examples * min(num_places, one.num_places) * len(one.kept) * one.layer.weight.element_size()
        if bunch and held + size > HELD_BYTES:
            yield bunch
            held, bunch = 0, []
        held += size
        bunch.append(one)
    if bunch:
        yield bunch


def kept_outputs(weight: Tensor, cuts: Cuts, name: str) -> Tensor:
    """(k,) which outputs of a dense layer are left after all cuts of its weight."""
    kept = torch.arange(len(weight), device=weight.device)
    for cut in cuts.tensors:
        if cut.tensor == f"{name}.weight" and cut.axis == 0:
            kept = kept[torch.tensor(cut.kept, device=kept.device)]
    return kept


def check(batches: Sequence[Tensor], least: int = 1) -> None:
    """Raises SettingError when there are fewer batches."""
    if len(batches) < least:
        raise SettingError(f"repair: {len(batches)} batches of examples were given, must be {least} or more.")
