"""Cuts as data: which indices of which tensors were kept, and which attributes tell a module its new size."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from prunelle.errors import ShapeError

Index = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]


class Cut(BaseModel):
    """tensor: a parameter's or buffer's name. axis: which of its axes. kept: the indices that stay, ascending."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    tensor: str
    axis: Index
    kept: list[Index]


class Attribute(BaseModel):
    """module: its path. name: an attribute that holds a size, such as out_channels. value: the size after cutting."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    module: str
    name: str
    value: Size | list[Size]

    def fits(self, old: object) -> bool:
        """Whether `old` is a size that this may stand for: cutting never makes one larger. A bool is a switch."""
        if isinstance(self.value, int):
            return isinstance(old, int) and not isinstance(old, bool) and self.value <= old
        return (
            isinstance(old, tuple)
            and len(old) == len(self.value)
            and all(type(was) is int and now <= was for was, now in zip(old, self.value, strict=True))
        )


class Cuts(BaseModel):
    """Everything that makes a dense model the cut one. Cuts of one tensor are applied in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    tensors: list[Cut] = []
    attributes: list[Attribute] = []


@torch.no_grad()
def replay_(model: nn.Module, cuts: Cuts) -> None:
    """Cut a dense module in place. All cuts are checked before the first is made.

    Raises ShapeError, naming the tensor or attribute, when they do not fit this module.
    """
    sliced: dict[int, Tensor] = {}
    found: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    found |= dict(model.named_buffers(remove_duplicate=False))
    for cut in cuts.tensors:
        if cut.tensor not in found:
            raise ShapeError(f"cuts: the model has no tensor {cut.tensor}; give the module that was cut.")
        tensor = sliced.get(id(found[cut.tensor]), found[cut.tensor])
        if cut.axis >= tensor.ndim or not cut.kept or max(cut.kept) >= tensor.shape[cut.axis]:
            raise ShapeError(
                f"cuts: {cut.tensor} has shape {tuple(tensor.shape)}, axis {cut.axis} up to index "
                f"{max(cut.kept, default=None)} is to be kept; give the module that was cut."
            )
        if any(later <= earlier for earlier, later in pairwise(cut.kept)):  # an index kept twice would enlarge it
            raise ShapeError(f"cuts: {cut.tensor}, axis {cut.axis}: kept indices must ascend; cut the model again.")
        sliced[id(found[cut.tensor])] = tensor.index_select(cut.axis, torch.tensor(cut.kept, device=tensor.device))
    modules = dict(model.named_modules())
    for attribute in cuts.attributes:
        module = modules.get(attribute.module)
        old = None if module is None else vars(module).get(attribute.name)
        if attribute.name.startswith("_") or not attribute.fits(old):
            raise ShapeError(
                f"cuts: {attribute.module}.{attribute.name} is {old!r:.80}, no size that can shrink to "
                f"{attribute.value!r:.80}; give the module that was cut."
            )
    put_in_(model, sliced)
    for attribute in cuts.attributes:
        value = tuple(attribute.value) if isinstance(attribute.value, list) else attribute.value
        setattr(modules[attribute.module], attribute.name, value)


def put_in_(model: nn.Module, sliced: dict[int, Tensor]) -> None:
    """Replace parameters and buffers by id; one that several modules share is shared afterwards too."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for leaf, old in list(module._parameters.items()):
            if old is not None and id(old) in sliced:
                new = made.setdefault(id(old), nn.Parameter(sliced[id(old)], old.requires_grad))
                setattr(module, leaf, new)  # recurrent layers keep a list of their own, which setattr mends
        for leaf, buffer in module._buffers.items():
            module._buffers[leaf] = sliced.get(id(buffer), buffer)
