"""One suite over every scope: what the steps count on. A scope that is not in the table turns it red."""

import functools
import inspect

import pytest
import torch

from prunelle.errors import SettingError, ShapeError
from prunelle.prune import select, weight_shares
from prunelle.prune.select import Scope
from prunelle.recipes.words import SCOPES

pytestmark = pytest.mark.usefixtures("one_thread")

SPARSITIES = (0.0, 0.1, 0.5, 0.75, 0.99)
COSTS = {"a": 1.0, "b": 64.0, "c": 1024.0}


def scope(name: str) -> Scope:
    """The scope as the steps call it: with (scores, sparsity), its costs filled in."""
    asks = "costs" in inspect.signature(SCOPES[name]).parameters
    return functools.partial(SCOPES[name], costs=COSTS) if asks else SCOPES[name]


def scores(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (10, 12), "b": (7, 3, 3, 3), "c": (40,)}
    return {name: torch.rand(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def num_dropped(kept: dict[str, torch.Tensor]) -> int:
    return sum(int((~mask).sum()) for mask in kept.values())


def test_every_scope_is_in_the_table():
    """A scope is a function of these files that takes (scores, sparsity, ...) and returns Kept. One that wants a share
    for every layer has no word."""
    found = {
        value
        for module in (select, weight_shares)
        for value in vars(module).values()
        if inspect.isfunction(value)
        and list(inspect.signature(value).parameters)[:2] == ["scores", "sparsity"]
        and inspect.signature(value).return_annotation == "Kept"
        and "shares" not in inspect.signature(value).parameters
    }
    assert found == set(SCOPES.values())


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("name", SCOPES)
def test_names_shapes_type_and_number(name, sparsity):
    given = scores()
    kept = scope(name)(given, sparsity)
    assert list(kept) == list(given)
    assert all(mask.shape == given[key].shape and mask.dtype == torch.bool for key, mask in kept.items())
    total = sum(layer.numel() for layer in given.values())
    assert abs(num_dropped(kept) - sparsity * total) <= len(given)
    assert all(mask.any() for mask in kept.values())


@pytest.mark.parametrize("name", SCOPES)
def test_sparsity_0_keeps_all(name):
    assert num_dropped(scope(name)(scores(), 0.0)) == 0


@pytest.mark.parametrize("sparsity", SPARSITIES[1:])
@pytest.mark.parametrize("name", SCOPES)
def test_in_a_layer_everything_kept_scores_at_least_what_is_dropped(name, sparsity):
    given = scores()
    for key, mask in scope(name)(given, sparsity).items():
        if not mask.all():
            assert given[key][mask].min() >= given[key][~mask].max()


@pytest.mark.parametrize("name", SCOPES)
def test_what_is_gone_goes_first_and_more_sparsity_drops_more(name):
    given = scores()
    before = {key: torch.ones_like(layer, dtype=torch.bool) for key, layer in given.items()}
    for sparsity in SPARSITIES:
        kept = scope(name)(given, sparsity)
        assert all(not (kept[key] & ~before[key]).any() for key in given)
        before = kept
        given = {key: layer.masked_fill(~kept[key], float("-inf")) for key, layer in given.items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", SCOPES)
def test_one_question_has_one_answer_and_scores_stay(name, dtype):
    given = scores(dtype=dtype)
    before = {key: layer.clone() for key, layer in given.items()}
    first, second = scope(name)(given, 0.5), scope(name)(given, 0.5)
    assert all(torch.equal(first[key], second[key]) and torch.equal(given[key], before[key]) for key in given)
    assert abs(num_dropped(first) - 0.5 * sum(layer.numel() for layer in given.values())) <= len(given)


@pytest.mark.parametrize("name", SCOPES)
def test_equal_scores_still_drop_the_right_number(name):
    given = {key: torch.ones_like(layer) for key, layer in scores().items()}
    assert abs(num_dropped(scope(name)(given, 0.5)) - 0.5 * sum(layer.numel() for layer in given.values())) <= 2


@pytest.mark.parametrize("name", SCOPES)
def test_refusals(name):
    for sparsity in (-0.1, 1.0, float("nan")):
        with pytest.raises(SettingError, match=r"must lie in \[0, 1\)"):
            scope(name)(scores(), sparsity)
    with pytest.raises(ShapeError, match="nothing to choose from"):
        scope(name)({}, 0.5)
    with pytest.raises(SettingError, match="NaN"):
        scope(name)({"a": torch.tensor([float("nan"), 1.0])}, 0.5)


@pytest.mark.gpu
@pytest.mark.parametrize("name", SCOPES)
def test_a_gpu_gives_the_same_answer(name):
    given = scores()
    kept = scope(name)({key: layer.cuda() for key, layer in given.items()}, 0.5)
    wanted = scope(name)(given, 0.5)
    assert all(mask.is_cuda and torch.equal(mask.cpu(), wanted[key]) for key, mask in kept.items())
