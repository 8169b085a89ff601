"""One suite over every score: what prune/select.py and the steps count on. A score that is not in the table turns it
red."""

import inspect
import pkgutil
from importlib import import_module

import pytest
import torch
from tiny import bits, conv_net, new_run, same_bits, small_task, state_of

import prunelle.prune
from prunelle.measure.params import prunable
from prunelle.prune.select import over_all
from prunelle.prune.statistics import score_weights
from prunelle.prune.weights import PruneWeights
from prunelle.recipes.words import SCORES

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = {"linear": (3, 4), "convolution": (4, 3, 3, 3), "one": (1, 1), "none": (0, 3)}


def public_scores() -> set:
    """Public functions in prune/by_*.py whose first argument is a weight."""
    found = set()
    for info in pkgutil.iter_modules(prunelle.prune.__path__):
        if info.name.startswith("by_"):
            module = import_module(f"prunelle.prune.{info.name}")
            found |= {
                value
                for name, value in vars(module).items()
                if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
                if next(iter(inspect.signature(value).parameters), None) == "weight"
            }
    return found


def given(score, weight: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """The score with whatever it asks for."""
    generator = torch.Generator(device=weight.device).manual_seed(seed)
    ready = {"gradient": torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)), "generator": generator}
    ready["gradient"] = ready["gradient"].to(weight.dtype)
    wanted = list(inspect.signature(score).parameters)[1:]
    return score(weight, **{name: ready[name] for name in wanted if name in ready})


def weight_of(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(dtype)


def test_every_score_is_in_the_table():
    assert set(SCORES.values()) == public_scores()


@pytest.mark.parametrize("name", SCORES)
def test_the_first_argument_is_the_weight_and_the_docstring_names_what_comes_out(name):
    assert next(iter(inspect.signature(SCORES[name]).parameters)) == "weight"
    assert "higher = keep" in (SCORES[name].__doc__ or "")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("name", SCORES)
def test_shape_type_and_device(name, shape):
    for dtype in (torch.float32, torch.float64):
        weight = weight_of(shape, dtype)
        scores = given(SCORES[name], weight)
        assert scores.shape == weight.shape and scores.dtype == dtype and scores.device == weight.device
    assert given(SCORES[name], weight_of(shape, torch.bfloat16)).is_floating_point()


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_finite_and_the_weight_stays_as_it_was(name):
    weight = weight_of((30, 40))
    before = bits(weight)
    assert given(SCORES[name], weight).isfinite().all()
    assert bits(weight) == before


@pytest.mark.parametrize("name", SCORES)
def test_one_seed_gives_one_answer(name):
    weight = weight_of((30, 40))
    assert bits(given(SCORES[name], weight, 3)) == bits(given(SCORES[name], weight, 3))
    if "generator" in inspect.signature(SCORES[name]).parameters:
        assert bits(given(SCORES[name], weight, 3)) != bits(given(SCORES[name], weight, 4))


@pytest.mark.parametrize("name", SCORES)
def test_zeros_stay_and_one_seed_gives_one_network(name, tmp_path):
    """What is 0 already stays 0, whatever the score says; one seed gives one network."""
    model, task = conv_net(), small_task()
    with torch.no_grad():
        model[8].weight[0] = 0.0
    before = state_of(model)
    first, second = (PruneWeights(0.6, SCORES[name])(model, task, new_run(tmp_path)) for _ in range(2))
    assert same_bits(state_of(first), state_of(second)) and same_bits(state_of(model), before)
    assert not first[8].weight[0].any()


@pytest.mark.parametrize("name", SCORES)
def test_what_is_dropped_stays_dropped_from_round_to_round(name, tmp_path):
    model, task = conv_net(), small_task()
    weights = prunable(model)
    dropped = {key: torch.zeros_like(w, dtype=torch.bool) for key, w in weights.items()}
    for number, sparsity in enumerate((0.2, 0.5, 0.8)):
        generator = torch.Generator().manual_seed(number)
        kept = over_all(score_weights(weights, SCORES[name], generator, model, task), sparsity)
        with torch.no_grad():
            for key, w in weights.items():
                assert not (kept[key] & dropped[key]).any()
                w.masked_fill_(~kept[key], 0.0)
                dropped[key] = ~kept[key]


@pytest.mark.gpu
@pytest.mark.parametrize("name", SCORES)
def test_on_a_gpu(name):
    weight = weight_of((3, 4)).cuda()
    ready = {"gradient": torch.ones_like(weight), "generator": torch.Generator(device="cuda").manual_seed(0)}
    wanted = list(inspect.signature(SCORES[name]).parameters)[1:]
    assert SCORES[name](weight, **{key: ready[key] for key in wanted if key in ready}).device == weight.device
