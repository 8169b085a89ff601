"""Cuts as data: which indices of which tensors were kept, and which attributes tell a module its new size."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from prunelle.errors import ShapeError

Index = Annotated[int, Field(ge=0)]


class Cut(BaseModel):
    """tensor: a parameter's or buffer's name. axis: which of its axes. kept: the indices that stay, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    tensor: str
    axis: Index
    kept: list[Index]


class Attribute(BaseModel):
    """module: its path. name: an attribute that holds a size, such as out_channels. value: the size after cutting."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    module: str
    name: str
    value: int | list[int]


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
    sliced: dict[str, Tensor] = {}
    found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for cut in cuts.tensors:
        tensor = sliced.get(cut.tensor, found.get(cut.tensor))
        if tensor is None:
            raise ShapeError(f"cuts: the model has no tensor {cut.tensor}; give the module that was cut.")
        if cut.axis >= tensor.ndim or not cut.kept or max(cut.kept) >= tensor.shape[cut.axis]:
            raise ShapeError(
                f"cuts: {cut.tensor} has shape {tuple(tensor.shape)}, axis {cut.axis} up to index "
                f"{max(cut.kept, default=None)} is to be kept; give the module that was cut."
            )
        sliced[cut.tensor] = tensor.index_select(cut.axis, torch.tensor(cut.kept, device=tensor.device))
    modules = dict(model.named_modules())
    for attribute in cuts.attributes:
        module = modules.get(attribute.module)
        old = None if module is None else vars(module).get(attribute.name)
        if not isinstance(old, (int, tuple)) or isinstance(old, tuple) != isinstance(attribute.value, list):
            raise ShapeError(f"cuts: {attribute.module}.{attribute.name} is {old!r}, no size that can be set.")
    for name, tensor in sliced.items():
        path, _, leaf = name.rpartition(".")
        owner = modules[path]
        if leaf in owner._parameters:
            setattr(owner, leaf, nn.Parameter(tensor, requires_grad=owner._parameters[leaf].requires_grad))  # type: ignore[union-attr]
        else:
            owner._buffers[leaf] = tensor
    for attribute in cuts.attributes:
        value = tuple(attribute.value) if isinstance(attribute.value, list) else attribute.value
        setattr(modules[attribute.module], attribute.name, value)
