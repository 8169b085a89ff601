"""From units that go to cuts of tensors by name."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from prunelle.graph.cuts import Cut, put_in_
from prunelle.graph.sets import Tied


def tensor_cuts(tied: Tied, removed: np.ndarray) -> list[Cut]:
    """What is kept of every parameter and buffer that loses something. removed: (labels,) by unit."""
    root = tied.components.root
    cuts = []
    for grouped in tied.state.grouped:
        stays = ~removed[root[grouped.labels]]
        if not stays.all():
            indices = [np.flatnonzero(row) for row in stays]
            kept = np.concatenate(indices).tolist()
            cuts.append(Cut(tensor=grouped.tensor, axis=1, kept=kept, groups=len(indices)))
    for name, value in tied.state.tensors.items():
        for position, axis in enumerate(value.axes):
            stays = ~removed[root[axis.labels]]
            if not stays.all():
                cuts.append(Cut(tensor=name, axis=position, kept=np.flatnonzero(stays).tolist()))
    return cuts


@torch.no_grad()
def mask_(model: nn.Module, tied: Tied, removed: np.ndarray) -> None:
    """Mask what cutting would remove: every tensor that makes or scales removed channels is 0 there, as a copy.

    Who reads the channels stays as it is, and so do the statistics of norms.
    """
    root = tied.components.root
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    tensors |= dict(model.named_buffers(remove_duplicate=False))
    changed: dict[int, Tensor] = {}
    for name, position, labels in tied.state.zeroed:
        wanted = np.unique(root[labels])
        wanted = wanted[removed[wanted]]
        if not len(wanted):
            continue
        for each, axis in enumerate(tied.state.tensors[name].axes):
            if each != position and (position is not None or (name, each) in tied.state.weighted):
                continue
            gone = np.flatnonzero(np.isin(root[axis.labels], wanted))
            if len(gone):
                tensor = changed.setdefault(id(tensors[name]), tensors[name].detach().clone())
                tensor.index_fill_(each, torch.from_numpy(gone), 0.0)
    put_in_(model, changed)
