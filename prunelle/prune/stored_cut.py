"""A cut as a checkpoint of its run: a run that was killed goes on with the very same network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.errors import CorruptFileError, RunConflictError
from prunelle.graph.cuts import Cuts, replay_
from prunelle.runs import Run
from prunelle.train.ddp import join


@dataclass(frozen=True)
class StoredCut:
    """A network that was cut. cuts: from the network that the step was given. about: plain JSON values, whatever the
    step wants to know again, such as a time that it measured."""

    model: nn.Module
    cuts: Cuts
    about: dict[str, Any]


def cut_once(run: Run, stage: str, begun: str, model: nn.Module, make: Callable[[], StoredCut]) -> StoredCut:
    """The cut of `stage`, made unless it stands; of several ranks the first makes it and all take what it stored.

    begun: what the step is and from what it starts, see train.identity. Raises as `stored_cut` and `make`.
    """
    ranks = join(run.device)
    found = stored_cut(run, stage, begun, model)
    if found is None and ranks.rank == 0:
        found = make()
        store_cut(run, stage, begun, found)
    ranks.barrier()
    found = found or stored_cut(run, stage, begun, model)
    assert found is not None
    return found


def store_cut(run: Run, stage: str, begun: str, made: StoredCut) -> None:
    """Write the checkpoint of `stage`. begun: as in `cut_once`."""
    info = {"begun": begun, "cuts": made.cuts.model_dump(mode="json"), "about": made.about}
    run.save_checkpoint(stage, tensors_of(made.model), info)


def stored_cut(run: Run, stage: str, begun: str, model: nn.Module) -> StoredCut | None:
    """The cut made of `model` before, None when there is none yet; the model stays as it was.

    Raises RunConflictError for a checkpoint of another step, model or data, CorruptFileError.
    """
    found = run.load_checkpoint(stage)
    if found is None:
        return None
    tensors, info = found
    if info.get("begun") != begun:
        raise RunConflictError(
            f"{run.folder}: its checkpoint of {stage} is of other settings, weights or data; give the run settings of "
            "its own (Run.open), or another folder."
        )
    cuts = Cuts.model_validate(info["cuts"])
    cut = copy.deepcopy(model).to(run.device)
    replay_(cut, cuts)
    wanted = tensors_of(cut)
    if {name: t.shape for name, t in wanted.items()} != {name: t.shape for name, t in tensors.items()}:
        raise CorruptFileError(f"{run.folder}: its checkpoint of {stage} is of another network; delete it.")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(tensors[name])
    return StoredCut(cut, cuts, info["about"])


def cuts_of(run: Run, *stages: str) -> Cuts:
    """All cuts that these stages have stored, one after another; those that are not done yet are left out."""
    cuts = Cuts()
    for stage in stages:
        found = run.load_checkpoint(stage)
        if found is not None:
            cuts = cuts.then(Cuts.model_validate(found[1]["cuts"]))
    return cuts


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, those that are not saved with a model too."""
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    return tensors | dict(model.named_buffers(remove_duplicate=False))
