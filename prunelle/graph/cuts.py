"""Cuts as data: which indices of which tensors were kept, which attributes tell a module its new size, which modules
gave way to nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from prunelle.errors import ShapeError

Index = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=0)]


class Cut(BaseModel):
    """tensor: a parameter's or buffer's name. axis: which of its axes. kept: the indices that stay, ascending.

    groups: above 1 for a grouped convolution's weight, whose axis 0 then falls into that many equal blocks, each with
    kept indices of its own: equally many, one block's after another's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    tensor: str
    axis: Index
    kept: list[Index]
    groups: Annotated[int, Field(ge=1)] = 1

    def blocks(self) -> list[list[int]]:
        """The kept indices of each block."""
        each = max(1, len(self.kept) // self.groups)
        return [self.kept[start : start + each] for start in range(0, len(self.kept), each)]

    def of(self, tensor: Tensor) -> Tensor:
        """What is kept of `tensor`."""
        if self.groups == 1:
            return tensor.index_select(self.axis, torch.tensor(self.kept, device=tensor.device))
        parts = zip(tensor.chunk(self.groups), self.blocks(), strict=True)
        return torch.cat([part.index_select(self.axis, torch.tensor(kept, device=part.device)) for part, kept in parts])


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
            isinstance(old, (tuple, list))
            and len(old) == len(self.value)
            and all(type(was) is int and now <= was for was, now in zip(old, self.value, strict=True))
        )


class Replaced(BaseModel):
    """module: the path of one that is gone. by: what stands there, `identity` (its input) or `nothing` (a 0)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    module: str
    by: Literal["identity", "nothing"]


class Nothing(nn.Module):
    """Gives a single 0 whatever comes in: what is added to it stays as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


class Cuts(BaseModel):
    """Everything that makes a dense model the cut one. Modules are replaced first; cuts of one tensor then follow in
    their order."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    tensors: list[Cut] = []
    attributes: list[Attribute] = []
    replaced: list[Replaced] = []

    def then(self, later: Cuts) -> Cuts:
        """Both, `later` made on the model that this made."""
        gone = tuple(f"{one.module}." for one in later.replaced)
        return Cuts(
            tensors=[cut for cut in self.tensors if not cut.tensor.startswith(gone)] + later.tensors,
            attributes=[a for a in self.attributes if not f"{a.module}.".startswith(gone)] + later.attributes,
            replaced=[one for one in self.replaced if not one.module.startswith(gone)] + later.replaced,
        )

    def inside(self, path: str) -> Cuts:
        """The same cuts of a model that is the submodule `path` of another."""
        return Cuts(
            tensors=[cut.model_copy(update={"tensor": f"{path}.{cut.tensor}"}) for cut in self.tensors],
            attributes=[
                a.model_copy(update={"module": f"{path}.{a.module}" if a.module else path}) for a in self.attributes
            ],
            replaced=[one.model_copy(update={"module": f"{path}.{one.module}"}) for one in self.replaced],
        )


@torch.no_grad()
def replay_(model: nn.Module, cuts: Cuts) -> None:
    """Cut a dense module in place. All cuts are checked before the first is made.

    Raises ShapeError, naming the tensor, attribute or module, when they do not fit this module.
    """
    modules = dict(model.named_modules())
    for one in cuts.replaced:
        if not one.module or one.module not in modules:
            raise ShapeError(f"cuts: the model has no module {one.module!r}; give the module that was cut.")
    sliced = slices(model, cuts)
    for attribute in cuts.attributes:
        module = modules.get(attribute.module)
        old = None if module is None else vars(module).get(attribute.name)
        if attribute.name.startswith("_") or not attribute.fits(old):
            raise ShapeError(
                f"cuts: {attribute.module}.{attribute.name} is {old!r:.80}, no size that can shrink to "
                f"{attribute.value!r:.80}; give the module that was cut."
            )
    for one in cuts.replaced:
        model.set_submodule(one.module, nn.Identity() if one.by == "identity" else Nothing())
    put_in_(model, sliced)
    for attribute in cuts.attributes:
        old = vars(modules[attribute.module])[attribute.name]
        value = type(old)(attribute.value) if isinstance(attribute.value, list) else attribute.value
        setattr(modules[attribute.module], attribute.name, value)


def slices(model: nn.Module, cuts: Cuts) -> dict[int, Tensor]:
    """What stays of each tensor that is cut, by the id of the tensor as it stands. Raises ShapeError."""
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
        if cut.groups > 1 and (cut.axis == 0 or tensor.shape[0] % cut.groups or len(cut.kept) % cut.groups):
            raise ShapeError(
                f"cuts: {cut.tensor} has shape {tuple(tensor.shape)}, {len(cut.kept)} indices of axis {cut.axis} in "
                f"{cut.groups} groups cannot be kept; give the module that was cut."
            )
        # An index kept twice would enlarge it.
        if any(later <= earlier for block in cut.blocks() for earlier, later in pairwise(block)):
            raise ShapeError(f"cuts: {cut.tensor}, axis {cut.axis}: kept indices must ascend; cut the model again.")
        sliced[id(found[cut.tensor])] = cut.of(tensor)
    return sliced


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
