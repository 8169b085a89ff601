"""Several networks that know some classes each and answer as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from prunelle.errors import ModelError, ShapeError
from prunelle.models.names import MEMBERS, Shape

Groups = tuple[tuple[int, ...], ...]
"""The classes of each member, as numbers; every class in exactly one."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """By which members' outputs can be held against each other, (members,) each: outputs are divided by temperatures;
    biases are then added to the log-odds that the image is of a member's own classes."""

    temperatures: Tensor
    biases: Tensor

    def of(self, number: int) -> tuple[float, float]:
        """(temperature, bias) of a member."""
        return float(self.temperatures[number]), float(self.biases[number])

    @staticmethod
    def none(num: int) -> Calibration:
        """Of so many members: what they say as they say it."""
        return Calibration(torch.ones(num), torch.zeros(num))


class Members(nn.Module):
    """Members of a class-wise network, run one after another; `classwise.running` runs them side by side.

    members: member g takes images (N, C, H, W) and gives (N, k + 1) for its k >= 2 classes, column 0 = none of mine,
    or (N, 1), the log-odds of its only class. temperatures, biases: (members,), see Calibration. Raises ModelError
    where the groups do not hold each class once.
    """

    temperatures: Tensor
    biases: Tensor
    places: Tensor

    def __init__(self, members: Sequence[nn.Module], groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.groups = checked(groups)
        if len(members) != len(self.groups):
            raise ModelError(f"members: {len(members)} networks for {len(self.groups)} groups, must be one for each.")
        self.members = nn.ModuleList(members)
        self.register_buffer("temperatures", torch.ones(len(members)))
        self.register_buffer("biases", torch.zeros(len(members)))
        self.register_buffer("places", places(self.groups), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes) log-probabilities, see `combined`."""
        return self.combine([member(images) for member in self.members])

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """What `forward` gives, of the members' outputs in their order."""
        return combined(outputs, Calibration(self.temperatures, self.biases), self.places)


def combined(outputs: Sequence[Tensor], calibration: Calibration, places: Tensor) -> Tensor:
    """Log-probabilities (N, classes) of all classes in their order: what each member says of its own, held against what
    its fellows say of theirs.

    outputs: one (N, k + 1) or (N, 1) a member. places: (classes,) as from `places`.
    """
    told = zip(outputs, calibration.temperatures, calibration.biases, strict=True)
    parts = [own_classes(shifted(output / temperature, bias)) for output, temperature, bias in told]
    return log_softmax(torch.cat(parts, dim=1).index_select(1, places), dim=1)


def shifted(outputs: Tensor, bias: Tensor) -> Tensor:
    """A member's outputs with `bias` () added to the log-odds of all its own classes against "none of mine".

    >>> shifted(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor(0.5)), shifted(torch.tensor([[2.0]]), torch.tensor(0.5))
    (tensor([[0.5000, 2.0000, 3.0000]]), tensor([[2.5000]]))
    """
    if outputs.shape[1] == 1:
        return outputs + bias
    return torch.cat([outputs[:, :1] - bias, outputs[:, 1:]], dim=1)


def own_classes(outputs: Tensor) -> Tensor:
    """Log-probabilities of a member's own classes, "none of mine" left out.

    outputs: (N, k + 1), or (N, 1) log-odds. Returns (N, k), or (N, 1).

    >>> own_classes(torch.tensor([[0.0, 0.0, 0.0]])).exp()
    tensor([[0.3333, 0.3333]])
    >>> own_classes(torch.tensor([[0.0]])).exp()
    tensor([[0.5000]])
    """
    if outputs.shape[1] == 1:
        return logsigmoid(outputs)
    return log_softmax(outputs, dim=1)[:, 1:]


def places(groups: Groups) -> Tensor:
    """(classes,) where each class stands once the groups are laid side by side.

    >>> places(((0, 2), (1,))).tolist()
    [0, 2, 1]
    """
    return torch.tensor([number for group in groups for number in group]).argsort()


def num_outputs(group: Sequence[int]) -> int:
    """Outputs of the member that knows these classes: one more than they are, and one for a single class.

    >>> num_outputs((3, 5)), num_outputs((3,))
    (3, 1)
    """
    return 1 if len(group) == 1 else len(group) + 1


def covers(group: Sequence[int], num_classes: int) -> bool:
    """Whether a group holds every class, so that there is nothing beside it: the control of a class-wise network, one
    network for all."""
    return len(group) == num_classes


def checked(groups: Sequence[Sequence[int]]) -> Groups:
    """Raises ModelError where the groups do not hold each class once."""
    found = tuple(tuple(group) for group in groups)
    everyone = sorted(number for group in found for number in group)
    if not all(found) or everyone != list(range(len(everyone))) or len(everyone) < 2:
        raise ModelError(f"groups are {text_of(found)}, must hold each class from 0 on once, in no empty group.")
    return found


def text_of(groups: Sequence[Sequence[int]]) -> str:
    """Groups as a word of a spec.

    >>> text_of(((0, 2), (1,)))
    '0,2/1'
    """
    return "/".join(",".join(map(str, group)) for group in groups)


def groups_of(text: str) -> Groups:
    """The groups that `text_of` wrote. Raises ModelError.

    >>> groups_of("0,2/1")
    ((0, 2), (1,))
    """
    parts = [part.split(",") for part in text.split("/")]
    if not all(number.isdecimal() and len(number) < 9 for part in parts for number in part):
        raise ModelError(f"groups are {text!r:.80}, must be class numbers such as 0,1,2/3,4.")
    return checked([[int(number) for number in part] for part in parts])


def members_spec(spec: str, groups: Groups) -> str:
    """The spec of a class-wise network whose members are built as `spec` is."""
    return f"{MEMBERS}{text_of(groups)}:{spec}"


def build_members(
    build: Callable[..., nn.Module], spec: str, groups: str, input_shape: Shape | None, num_classes: int | None
) -> Members:
    """A dense member for each group. build: (spec, input_shape=, num_classes=) -> module. Raises ModelError, ShapeError
    for groups of another number of classes, and what building raises."""
    found = groups_of(groups)
    num = sum(map(len, found))
    if num_classes is not None and num_classes != num:
        raise ShapeError(f"{MEMBERS}{groups}:{spec}: its groups hold {num} classes, {num_classes} are asked for.")
    return Members([build(spec, input_shape=input_shape, num_classes=num_outputs(one)) for one in found], found)
