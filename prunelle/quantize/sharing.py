"""Weight sharing: each layer's weights take only a few values, so that a file needs a few bits a weight."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from prunelle.data.task import Task
from prunelle.errors import SettingError
from prunelle.measure.params import prunable
from prunelle.runs import Run
from prunelle.train.identity import identity
from prunelle.train.loop import fit_
from prunelle.train.settings import TrainSettings

MOST_ROUNDS = 200


@dataclass(frozen=True)
class ShareWeights:
    """Give each prunable weight tensor at most `num_values` values besides 0, found by k-means; zeros stay zeros.

    settings: train the values on, with what shares a value moving together; None leaves them where k-means put them.
    A value's gradient is the sum over its members, so that Adam is at home here and SGD wants a rate as many times
    smaller. biases: as many values for the biases of each layer, or None to leave those as they are, trained like any
    other. All shared values end as numbers that float16 holds, so that their tables are small.
    Source: Deep Compression, arXiv:1510.00149 section 3. Raises SettingError.
    """

    num_values: int = 16
    settings: TrainSettings | None = None
    biases: int | None = None
    name: str = "share"

    def __post_init__(self) -> None:
        for what, number in (("num_values", self.num_values), ("biases", self.biases)):
            if number is not None and not 1 <= number <= 256:
                raise SettingError(
                    f"{self.name}: {what} is {number}, must be 1 to 256; to share nothing, leave it out."
                )

    def __call__(self, model: nn.Module, task: Task, run: Run) -> nn.Module:
        begun = identity(self, model)
        model = copy.deepcopy(model).to(run.device)
        shared = SharedValues(self.chosen(model))
        if self.settings is None:
            shared.start_(0, {})
            shared.release()
        else:
            try:
                fit_(model, task, self.settings, run, self.name, shared, begun)
            finally:
                shared.release()
        round_to_half_([weight for weight, _ in shared.weights.values()])
        return model

    def chosen(self, model: nn.Module) -> dict[str, tuple[nn.Parameter, int]]:
        """(what is shared, how many values) by name."""
        found = {name: (weight, self.num_values) for name, weight in prunable(model).items()}
        if self.biases is not None:
            layers = {name.rpartition(".")[0] for name in found}
            for name, parameter in model.named_parameters():
                if parameter.ndim == 1 and name.rpartition(".")[0] in layers:
                    found[name] = (parameter, self.biases)
        return found


class SharedValues:
    """A train.constraint.Constraint: weights that share a value at the start share one after every update. Final.

    The gradient of each is replaced by the sum over all that share its value, so that the optimizer, whichever it is,
    moves them alike. weights: (parameter, number of values) by name.
    """

    def __init__(self, weights: dict[str, tuple[nn.Parameter, int]]) -> None:
        self.weights = weights
        self.places: dict[str, Tensor] = {}
        self.codes: dict[str, Tensor] = {}
        self.firsts: dict[str, Tensor] = {}
        self.handles: list[RemovableHandle] = []

    def start_(self, step: int, state: dict[str, Tensor]) -> None:
        for name, (weight, num_values) in self.weights.items():
            flat = weight.detach().reshape(-1)
            if state:
                self.places[name], self.codes[name] = state[f"places:{name}"], state[f"codes:{name}"]
            else:
                self.places[name] = flat.nonzero().view(-1)
                values, self.codes[name] = k_means(flat[self.places[name]], num_values)
                put_(weight, self.places[name], values[self.codes[name]])
            self.firsts[name] = self.places[name][first_of(self.codes[name], num_values)]
            if weight.requires_grad:
                self.handles.append(weight.register_hook(lambda gradient, name=name: self.summed(gradient, name)))

    def summed(self, gradient: Tensor, name: str) -> Tensor:
        """What each weight's value has to gain: the sum of its members' gradients; 0 where the weight is 0."""
        places, codes = self.places[name], self.codes[name]
        flat = gradient.reshape(-1)
        sums = flat.new_zeros(self.weights[name][1]).index_add_(0, codes, flat[places])
        spread = torch.zeros_like(flat)
        spread[places] = sums[codes]
        return spread.view(gradient.shape)

    @torch.no_grad()
    def after_update_(self, step: int) -> None:
        """All members take the value of their first: vectorised and single steps may round differently."""
        for name, (weight, _) in self.weights.items():
            values = weight.detach().reshape(-1)[self.firsts[name]]
            put_(weight, self.places[name], values[self.codes[name]])

    def state(self) -> dict[str, Tensor]:
        places = {f"places:{name}": one for name, one in self.places.items()}
        return places | {f"codes:{name}": one for name, one in self.codes.items()}

    def settled(self, step: int) -> bool:
        return True

    def release(self) -> None:
        """Leave the gradients alone again."""
        while self.handles:
            self.handles.pop().remove()


def first_of(codes: Tensor, num_values: int) -> Tensor:
    """The position of each value's first member; 0 for a value without members, nothing at all
    where there are no members.

    >>> first_of(torch.tensor([1, 1, 0]), 3)
    tensor([2, 0, 0])
    """
    order = torch.arange(len(codes), device=codes.device)
    first = torch.zeros(num_values if len(codes) else 0, dtype=torch.int64, device=codes.device)
    return first.scatter_reduce_(0, codes, order, "amin", include_self=False)


@torch.no_grad()
def put_(weight: Tensor, places: Tensor, members: Tensor) -> None:
    """Fill a weight with zeros but for `members` at flat `places`, whatever its memory format."""
    flat = torch.zeros(weight.numel(), dtype=weight.dtype, device=weight.device)
    flat[places] = members
    weight.copy_(flat.view(weight.shape))


def k_means(numbers: Tensor, num_values: int) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm on a line, from values spread evenly between the extremes.

    numbers: (n,) float. Returns (values (num_values,) rising, the number of each one's value (n,) int64). Values
    without members stay where they are. No more different numbers than values: each is its own, exactly.
    Source: arXiv:1510.00149 section 3.2: the even start keeps the few large weights, which matter most.

    >>> k_means(torch.tensor([0.0, 1.0, 9.0, 10.0, 11.0]), 2)
    (tensor([ 0.5000, 10.0000]), tensor([0, 0, 1, 1, 1]))
    """
    different, own = numbers.unique(return_inverse=True)
    if len(different) <= num_values:
        return torch.cat([different, different.new_zeros(num_values - len(different))]), own
    ordered = numbers.double().sort().values
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    values = torch.linspace(float(ordered[0]), float(ordered[-1]), num_values, dtype=torch.float64).to(numbers.device)
    for _ in range(MOST_ROUNDS):
        borders = torch.searchsorted(ordered, (values[1:] + values[:-1]) / 2)
        ends = torch.cat([borders, borders.new_tensor([len(ordered)])])
        starts = torch.cat([borders.new_tensor([0]), borders])
        means = (sums[ends] - sums[starts]) / (ends - starts).clamp(min=1)
        moved = torch.where(ends > starts, means, values)
        if torch.equal(moved, values):
            break
        values = moved
    return values.to(numbers.dtype), torch.searchsorted(((values[1:] + values[:-1]) / 2), numbers.double())


def round_to_half_(tensors: list[Tensor]) -> None:
    """Each number becomes the nearest that float16 holds, in place and in the tensor's own type; the smallest ones
    keep their sign instead of becoming 0, and what is beyond float16 stays as it is."""
    for tensor in tensors:
        own = tensor.detach()
        half = own.half().to(own.dtype)
        tiny = (half == 0) & (own != 0)
        half = torch.where(tiny, torch.copysign(torch.full_like(own, 2.0**-24), own), half)
        with torch.no_grad():
            tensor.copy_(torch.where(half.isfinite(), half, own))
