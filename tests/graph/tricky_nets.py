"""Hand-made networks that structural pruners trip on. Half the channels of each are dead by construction, over all that
is coupled to them: by magnitude exactly those must go, and the output must stay what it is.

Statuses: exact; ran_differs (it runs, and other channels went or the values are wrong); no_oracle (it runs, the answer
is not known); noop (over 95 % of the parameters are left); refused, by an error of ours; crashed, by another;
forward_error; wrong_shape.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from dead_channels import Dead
from torch import Tensor, nn
from tricky_images import ON_IMAGES
from tricky_sequences import ON_SEQUENCES

from prunelle.errors import PrunelleError

NETS: tuple[type[Dead], ...] = (*ON_IMAGES, *ON_SEQUENCES)
NUM_KNOWN = sum(net.exact for net in NETS)
TOLERANCE = 1e-4
Prune = Callable[[nn.Module, Tensor], nn.Module]


def warm_(net: nn.Module) -> None:
    """Norms with scales and statistics that are not those of a fresh network."""
    draws = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)):
            module.weight.data.uniform_(0.5, 1.5, generator=draws)
            module.bias.data.uniform_(-0.3, 0.3, generator=draws)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2, generator=draws)
                module.running_var.uniform_(0.5, 1.5, generator=draws)


def tried(kind: type[Dead], prune: Prune) -> dict[str, Any]:
    """One network pruned: {net, status, share of parameters left, error, reason}."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        net = kind().eval()
    warm_(net)
    net.make_dead()
    row: dict[str, Any] = {"net": kind.__name__, "share": 1.0, "error": 0.0, "reason": ""}
    stage = "crashed"
    try:
        small = prune(copy.deepcopy(net), net.example()).eval()
        stage = "forward_error"
        with torch.no_grad():
            wanted, given = net(net.example()), small(net.example())
    except Exception as error:
        refused = stage == "crashed" and isinstance(error, PrunelleError)
        return {**row, "status": "refused" if refused else stage, "reason": f"{type(error).__name__}: {error}"[:300]}
    if given.shape != wanted.shape:
        return {**row, "status": "wrong_shape"}
    row["share"] = num_params(small) / num_params(net)
    row["error"] = float((given - wanted).abs().max() / wanted.abs().max())
    if row["share"] > 0.95:
        return {**row, "status": "noop"}
    if not kind.exact:
        return {**row, "status": "no_oracle"}
    return {**row, "status": "exact" if row["error"] < TOLERANCE else "ran_differs"}


def num_params(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
