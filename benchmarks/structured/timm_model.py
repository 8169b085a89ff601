"""One model of timm, cut at half its channels, and everything that must then hold of it."""

from __future__ import annotations

import copy
import math
import tempfile
import time
from typing import Any

import torch
from randomised import randomise_
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from zeroed import outputs, relative_error, zeroed

from prunelle.errors import PrunelleError
from prunelle.measure.macs import count_macs
from prunelle.models.names import Shape
from prunelle.models.open import open_model
from prunelle.models.save import Builder, load, save
from prunelle.prune.channels import plan_channels, prune_channels
from prunelle.ship.onnx import onnxruntime

EXACT, ROUNDED = 1e-10, 1e-6
MOST_MACS = 0.8
LEAST_SPREAD = 1e-4
"""Of the outputs over images, in units of the largest: below it the comparison would be one of constants."""


def look(name: str, shape: Shape, seed: int = 0, amount: float = 0.5, with_onnx: bool = False) -> dict[str, Any]:
    """What was found about a model; `problems` says in sentences what does not hold."""
    row: dict[str, Any] = {"model": name, "problems": []}
    stage = "build"
    try:
        opened = open_model(f"timm:{name}", input_shape=shape)
        model = randomise_(opened.model, torch.Generator().manual_seed(seed))
        images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(seed + 1))
        stage = "cut"
        time_cut(row, model, images[:1], amount)
        plan = plan_channels(model, images[:1], amount=amount)
        small = plan.apply(model)
        row["frozen"] = [[str(one.what), str(one.why)] for one in plan.frozen]
        stage = "count"
        count(row, model, small, images[:1])
        stage = "run"
        compare(row, model, plan, images)
        stage = "save"
        reload(row, small, opened.builder, plan.cuts, images[:2])
        stage = "train"
        train(row, model, small, images)
        if with_onnx:
            stage = "onnx"
            onnxruntime(small.eval(), images[:2], threads=1)
            row["onnx"] = True
    except Exception as error:  # the row must tell of any failure
        kind = "refused" if isinstance(error, PrunelleError) and stage == "cut" else "failed"
        row["problems"].append(f"{kind} at {stage}: {type(error).__name__}: {error}"[:1000])
    return row


def time_cut(row: dict[str, Any], model: nn.Module, image: Tensor, amount: float) -> None:
    """Seconds of one trace, before and after, and of the whole cut between; torch.export is warmed up first."""
    warm = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 1)).eval()
    prune_channels(warm, torch.zeros(1, 3, 4, 4), amount=amount)
    row["export_s"] = trace_s(model, image)
    start = time.perf_counter()
    prune_channels(model, image, amount=amount)
    row["cut_s"] = time.perf_counter() - start
    row["export_s"] = (row["export_s"] + trace_s(model, image)) / 2
    row["cut_per_export"] = row["cut_s"] / row["export_s"]


def trace_s(model: nn.Module, *inputs: Tensor) -> float:
    """Seconds of one trace by torch.export."""
    start = time.perf_counter()
    with torch.no_grad():
        torch.export.export(model, inputs, strict=False)
    return time.perf_counter() - start


def count(row: dict[str, Any], model: nn.Module, small: nn.Module, image: Tensor) -> None:
    before, after = count_macs(model, image), count_macs(small, image)
    row["macs"], row["macs_after"], row["uncounted"] = before.total, after.total, sorted(before.uncounted)
    row["params"], row["params_after"] = (sum(p.numel() for p in one.parameters()) for one in (model, small))
    row["macs_share"] = after.total / before.total
    if row["macs_share"] > MOST_MACS:
        row["problems"].append(f"{row['macs_share']:.2f} of the MACs are left")


def compare(row: dict[str, Any], model: nn.Module, plan: Any, images: Tensor) -> None:
    """Outputs in float64 against the dense network with the removed channels at 0, for two sizes of batch."""
    dense = copy.deepcopy(model).double()
    small, reference = plan.apply(dense), zeroed(dense, plan.cuts)
    pair = images[:2].double()
    row["max_rel_err"] = relative_error(small, reference, (pair,))
    row["effect"] = relative_error(dense, reference, (pair,))
    row["casts"] = casts(dense, pair[:1])
    row["spread"] = min(spread(one) for one in outputs(small, (pair,)))
    if not row["max_rel_err"] <= (ROUNDED if row["casts"] else EXACT):
        row["problems"].append(f"off by {row['max_rel_err']:.2g} of the largest output, casts {row['casts']}")
    if not row["spread"] >= LEAST_SPREAD:
        row["problems"].append(f"the output is as good as constant over images ({row['spread']:.2g})")
    row["other_batch_err"] = relative_error(small, reference, (images.double(),))
    if not row["other_batch_err"] <= (ROUNDED if row["casts"] else EXACT):
        row["problems"].append(f"a batch of 3 is off by {row['other_batch_err']:.2g}")


def spread(output: Tensor) -> float:
    """How far two images' outputs lie apart, in units of the largest; nan where the output is not finite."""
    if not output.isfinite().all():
        return math.nan
    return float((output[0] - output[1]).abs().max() / output.abs().max())


class Narrowed(TorchDispatchMode):
    """Names the operators that give float32 where float64 went in."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) and leaf.dtype == torch.float32 for leaf in tree_leaves(result)):
            self.found.add(str(func))
        return result


def casts(dense: nn.Module, image: Tensor) -> list[str]:
    """The operators by which a network in float64 computes in float32 all the same."""
    with torch.no_grad(), Narrowed() as seen:
        dense(image)
    return sorted(seen.found)


def reload(row: dict[str, Any], small: nn.Module, builder: Builder | None, cuts: Any, images: Tensor) -> None:
    """Saved and loaded, bit for bit in its tensors and its outputs."""
    with tempfile.TemporaryDirectory() as folder:
        save(small, folder, builder=builder, cuts=cuts)
        loaded = load(folder)
    first, second = small.state_dict(), loaded.state_dict()
    same = first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    given = zip(outputs(small, (images,)), outputs(loaded, (images,)), strict=True)
    row["reload_equal"] = same and all(torch.equal(a, b) for a, b in given)
    if not row["reload_equal"]:
        row["problems"].append("saved and loaded it is another network")


def train(row: dict[str, Any], model: nn.Module, small: nn.Module, images: Tensor) -> None:
    """A backward pass in train mode: every parameter that had a gradient when dense has one now, and it is finite."""
    small = copy.deepcopy(small)
    after = gradients(small, images)
    missing = {name for name, gradient in after.items() if gradient is None}
    if missing:
        before = gradients(copy.deepcopy(model), images)
        missing = {name for name in missing if before.get(name) is not None}
    infinite = [name for name, gradient in after.items() if gradient is not None and not gradient.isfinite().all()]
    row["backward"] = not missing and not infinite
    if not row["backward"]:
        row["problems"].append(f"gradients missing of {sorted(missing)[:5]}, not finite of {infinite[:5]}")


def gradients(model: nn.Module, images: Tensor) -> dict[str, Tensor | None]:
    given = [leaf for leaf in tree_leaves(model.train()(images)) if isinstance(leaf, Tensor)]
    sum(one.float().square().mean() / one.detach().square().mean().clamp_min(1e-30) for one in given).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}
