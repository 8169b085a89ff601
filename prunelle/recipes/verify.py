"""Is a cut network the masked one? Found out by running both, on its own weights and on random ones."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prunelle.graph.copies import randomised
from prunelle.graph.prove import outputs
from prunelle.models.names import Shape, first_line
from prunelle.prune.channels import ChannelPlan
from prunelle.seeds import derive, generator

EXACT, ROUNDED = 1e-10, 1e-6
DRAWS = 3
NUM_IMAGES = 3
STILL = 1e-9
"""Outputs for different images that differ by less, as a share of the largest, are constant."""


@dataclass(frozen=True)
class Verdict:
    """max_rel_err: the largest difference between cut and masked over the largest output, of all draws of weights.
    casts: operators by which the network computes in float32 although its weights are float64; "all" where it runs in
    float32 only. problems: sentences."""

    max_rel_err: float
    casts: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def limit(self) -> float:
        return ROUNDED if self.casts else EXACT

    def to_json(self) -> dict[str, Any]:
        found = self.max_rel_err if math.isfinite(self.max_rel_err) else None
        return {"ok": self.ok, "max_rel_err": found, "limit": self.limit, "casts": list(self.casts)} | {
            "problems": list(self.problems)
        }


def verify(
    dense: nn.Module,
    plan: ChannelPlan,
    small: nn.Module,
    shape: Shape,
    reload: Callable[[], nn.Module],
    seed: int = 0,
) -> Verdict:
    """Hold a cut against its promises.

    dense: the network that was planned for. small: what is shipped. shape: (C, H, W). reload: `small`, saved and
    loaded. Cut and masked agree in float64 to EXACT of the largest output, ROUNDED where the network itself casts to
    float32, on its own weights and DRAWS times on random ones; the output is not constant; saved and loaded it is the
    same bit for bit; it takes another number of images; a backward pass gives finite gradients.
    """
    images = torch.randn(NUM_IMAGES, *shape, generator=generator(seed, "verify"))
    problems = []
    small = copy.deepcopy(small).eval()
    if runs(dense, images) is not None:
        images = images[:1]  # the network itself takes no other number of images
    elif failure := runs(small, images):
        problems.append(f"{NUM_IMAGES} images do not run through the cut network ({failure})")
    errors, wrong = held(dense, plan, images, seed)
    problems += wrong
    worst = max(errors, key=lambda name: errors[name])
    seen = casts(dense, images)
    if not wrong and errors[worst] > (ROUNDED if seen else EXACT):
        problems.append(f"with {worst} cut and masked differ by {errors[worst]:.1e} of the largest output")
    if not same(small, reload(), images):
        problems.append("saved and loaded it is another network")
    if failure := without_gradient(small, dense, images):
        problems.append(failure)
    return Verdict(errors[worst], seen, tuple(problems))


def held(dense: nn.Module, plan: ChannelPlan, images: Tensor, seed: int) -> tuple[dict[str, float], list[str]]:
    """(difference for each draw of weights, what fails but for a difference)."""
    doubled = images.double() if runs(copy.deepcopy(dense).double(), images) is None else images
    errors, problems = {}, []
    for name, model in trials(dense, seed):
        proof = plan.prove(model, doubled, doubled.dtype)
        errors[name] = math.inf if proof.raised else proof.error
        if proof.raised:
            problems.append(f"with {name} it does not run ({proof.why})")
        elif is_constant(plan.apply(model), images) and not is_constant(model, images):
            problems.append(f"with {name} its output does not depend on the image any more")
    return errors, problems


def trials(dense: nn.Module, seed: int) -> Iterator[tuple[str, nn.Module]]:
    """The network with its own weights, and with random ones, each made when it is its turn."""
    yield "its own weights", dense
    for number in range(DRAWS):
        yield f"random weights {number}", randomised(dense, derive(seed, "verify", number))


def runs(model: nn.Module, images: Tensor) -> str | None:
    """Why the model does not run on these images; None when it does."""
    try:
        given(model, images)
    except Exception as error:  # a network may be anybody's code
        return first_line(error)
    return None


def given(model: nn.Module, images: Tensor) -> list[Tensor]:
    """What the model gives, images in the type of its weights."""
    weight = next(model.parameters(), torch.empty(0))
    with torch.no_grad():
        return outputs(model(images.to(weight.dtype)))


def is_constant(model: nn.Module, images: Tensor) -> bool:
    """Whether different images have the same outputs, and one image's are all one number."""
    for output in given(model, images):
        largest = output.abs().max()
        among = output.flatten(1) if output.ndim > 1 else output
        if float((among - among.flatten()[0]).abs().max()) > STILL * largest and (
            len(images) < 2 or float((output - output[:1]).abs().max()) > STILL * largest
        ):
            return False
    return True


def same(first: nn.Module, second: nn.Module, images: Tensor) -> bool:
    """Whether state and outputs are equal bit for bit."""
    a, b = first.state_dict(), second.state_dict()
    if a.keys() != b.keys() or not all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a):
        return False
    pairs = zip(given(first, images), given(second, images), strict=True)
    return all(torch.equal(torch.nan_to_num(x), torch.nan_to_num(y)) for x, y in pairs)


def without_gradient(small: nn.Module, dense: nn.Module, images: Tensor) -> str:
    """What is wrong with a backward pass of the cut network: gradients that are not finite, or are not there although
    the dense network has them. Empty when nothing is."""
    training = runs(copy.deepcopy(dense).train(), images) is None
    after = gradients(small, images, training)
    wrong = [name for name, gradient in after.items() if gradient is not None and not gradient.isfinite().all()]
    if wrong:
        return f"a backward pass gives {wrong[0]} a gradient that is not finite"
    missing = [name for name, gradient in after.items() if gradient is None]
    before = gradients(dense, images, training) if missing else {}
    lost = [name for name in missing if before.get(name) is not None]
    return f"a backward pass gives {lost[0]} no gradient" if lost else ""


def gradients(model: nn.Module, images: Tensor, training: bool) -> dict[str, Tensor | None]:
    """Each parameter's gradient of the mean square of the outputs, each output in units of its own."""
    copied = copy.deepcopy(model).train(training).requires_grad_(True)
    weight = next(copied.parameters(), torch.empty(0))
    found = [output for output in outputs(copied(images.to(weight.dtype))) if output.requires_grad]
    if found:
        total = torch.stack(
            [o.float().square().mean() / o.detach().float().square().mean().clamp_min(1e-30) for o in found]
        ).sum()
        total.backward()
    return {name: parameter.grad for name, parameter in copied.named_parameters()}


class Narrowed(TorchDispatchMode):
    """Names the operators that give float32 where float64 went in."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) and leaf.dtype == torch.float32 for leaf in tree_leaves(result)):
            self.found.add(str(func))
        return result


def casts(dense: nn.Module, images: Tensor) -> tuple[str, ...]:
    """The operators by which a network in float64 computes in float32 all the same; all where it runs in no other."""
    doubled, image = copy.deepcopy(dense).double().eval(), images[:1].double()
    with torch.no_grad(), Narrowed() as seen:
        try:
            doubled(image)
        except Exception:  # it makes float32 tensors that do not go with float64 ones
            return ("all",)
    return tuple(sorted(seen.found))
