"""The network that is split, as every worker opens it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from prunelle.graph.cuts import Cuts
from prunelle.models.members import Calibration, Groups, Members, covers, members_spec, num_outputs
from prunelle.models.save import Builder, load


@dataclass(frozen=True)
class Whole:
    """folder: where it is saved. builder, cuts: as models.save.save takes them. module: only where there is no builder:
    one of the same shapes, importable by name."""

    folder: Path
    builder: Builder | None
    cuts: Cuts
    module: nn.Module | None = None

    def open(self) -> nn.Module:
        """A copy of its own, in eval mode. Raises CorruptFileError."""
        if self.builder is not None:
            return load(self.folder, trust=True)  # whoever saved it has run the user's own file already
        return copy.deepcopy(self.module).eval()  # type: ignore[union-attr]

    def builder_of_member(self, group: tuple[int, ...]) -> Builder | None:
        """What makes a dense member for these classes, None without a builder."""
        if self.builder is None:
            return None
        same = covers(group, self.builder.num_classes)
        return self.builder if same else self.builder.model_copy(update={"num_classes": num_outputs(group)})

    def builder_of_members(self, groups: Groups) -> Builder | None:
        """What makes all dense members as one module."""
        if self.builder is None:
            return None
        return self.builder.model_copy(update={"spec": members_spec(self.builder.spec, groups)})


def cuts_of_members(whole: Whole, cuts: list[Cuts]) -> Cuts:
    """The cuts of `Members` whose members were cut so, one after another."""
    found = Cuts()
    for number, own in enumerate(cuts):
        found = found.then(whole.cuts.then(own).inside(f"members.{number}"))
    return found


def joined(members: list[nn.Module], groups: Groups, calibration: Calibration) -> Members:
    """The members as one module, in eval mode."""
    module = Members(members, groups)
    module.temperatures.copy_(calibration.temperatures)
    module.biases.copy_(calibration.biases)
    return module.eval()
