"""Channels cut in the exported graph: more may go than from a module, because hard-wired sizes are rewritten."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from prunelle.data.task import Task
from prunelle.errors import ModelError
from prunelle.graph.copies import as_type, randomised, shell
from prunelle.graph.cut import mask_, tensor_cuts
from prunelle.graph.cuts import Cuts
from prunelle.graph.exported import exported
from prunelle.graph.prove import CLOSE, outputs, said, worst
from prunelle.graph.sets import Tied, analyse
from prunelle.graph.ties import Removed
from prunelle.graph.trace import Inputs, as_inputs, trace
from prunelle.prune.channel_scores import l2_norm
from prunelle.prune.channel_select import ChannelScope, Limits, per_set
from prunelle.prune.channels import check_skip, selector, told
from prunelle.prune.unit_scores import RowScore, Scorer


def export_channels(
    model: nn.Module,
    example_inputs: Any,
    amount: float = 0.5,
    *,
    score: RowScore = l2_norm,
    scope: ChannelScope = per_set,
    of: str = "channels",
    floor: int = 1,
    multiple: int = 1,
    skip: tuple[str, ...] = (),
    seed: int = 0,
    task: Task | None = None,
) -> nn.Module:
    """As `prune_channels`, but the result is an exported graph: for inference only, at the example's batch size.

    Raises ModelError when nothing can go, or where cut and masked model differ.
    """
    inputs = as_inputs(example_inputs)
    check_skip(model, skip)
    tied = analyse(model, trace(model, inputs), skip=skip)
    if not tied.sets:
        raise ModelError(f"{type(model).__name__}: no channel can go ({told(tied)}); prune single weights instead.")
    select = selector(Scorer(model, score, seed, task), amount, scope, of, Limits(floor, multiple))
    removed = select(tied)
    cuts = Cuts(tensors=tensor_cuts(tied, removed))
    check(model, inputs, tied, removed, cuts, seed)
    return exported(model, tied, removed, cuts)


def check(model: nn.Module, inputs: Inputs, tied: Tied, removed: Removed, cuts: Cuts, seed: int) -> None:
    """Run cut and masked on random weights, in float64, or in float32 where the graph holds tensors of that type.

    Raises ModelError when they differ.
    """
    error, why = math.inf, ""
    for dtype in (torch.float64, torch.float32):
        dense, given = randomised(model, seed, dtype), as_type(inputs, dtype)
        masked = shell(dense)
        mask_(masked, tied, removed)
        try:
            with torch.no_grad():
                error = worst(outputs(masked(*given)), outputs(exported(dense, tied, removed, cuts)(*given)))
        except (RuntimeError, ValueError) as failure:
            why = said(failure)
            continue
        if error <= CLOSE[dtype]:
            return
        raise ModelError(
            f"{type(model).__name__}: its cut graph is {error:.1e} off; use prune_channels, which freezes more."
        )
    raise ModelError(f"{type(model).__name__}: its cut graph does not run ({why}); use prune_channels instead.")
