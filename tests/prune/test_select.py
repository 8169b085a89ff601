import math

import pytest
import torch

from prunelle.errors import SettingError, ShapeError
from prunelle.prune.select import keep_largest, over_all, per_layer, protect

pytestmark = pytest.mark.usefixtures("one_thread")


def plainly(scores: dict[str, torch.Tensor], sparsity: float, min_kept: int) -> dict[str, list[bool]]:
    """One sorted list: lowest first, of equals the first by name and index; what a layer must keep goes last."""
    items = []
    for place, (name, layer) in enumerate(scores.items()):
        values = layer.flatten().tolist()
        best = set(sorted(range(len(values)), key=lambda i: -values[i])[:min_kept])
        items += [(math.inf if i in best else v, place, i, name) for i, v in enumerate(values)]
    dropped = {(name, i) for score, _, i, name in sorted(items)[: round(sparsity * len(items))] if score < math.inf}
    return {name: [(name, i) not in dropped for i in range(layer.numel())] for name, layer in scores.items()}


def layers(seed: int, ties: bool) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (4, 5), "b": (7,), "c": (2, 3, 2, 2), "d": (1, 1)}
    found = {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
    return {name: (4 * layer).floor() for name, layer in found.items()} if ties else found


@pytest.mark.parametrize("min_kept", [0, 1, 3])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 1 / 3, 0.5, 0.8, 0.97])
@pytest.mark.parametrize("seed", range(4))
def test_global_equals_one_plain_sort(seed, sparsity, min_kept):
    scores = layers(seed, ties=False)
    found = over_all(scores, sparsity, min_kept)
    assert {name: kept.flatten().tolist() for name, kept in found.items()} == plainly(scores, sparsity, min_kept)


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_ties_are_broken_by_order_and_the_number_is_exact(seed, sparsity):
    scores = layers(seed, ties=True)
    found = over_all(scores, sparsity, min_kept=0)
    assert {name: kept.flatten().tolist() for name, kept in found.items()} == plainly(scores, sparsity, 0)
    total = sum(layer.numel() for layer in scores.values())
    assert sum(int((~kept).sum()) for kept in found.values()) == round(sparsity * total)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9])
def test_per_layer_is_global_on_each_layer_alone(sparsity):
    scores = layers(0, ties=True)
    found = per_layer(scores, sparsity)
    for name, layer in scores.items():
        assert torch.equal(found[name], over_all({name: layer}, sparsity)[name])
        assert int((~found[name]).sum()) == min(round(sparsity * layer.numel()), layer.numel() - 1)


def test_by_hand():
    scores = {"a": torch.tensor([[5.0, 1.0], [3.0, 3.0]]), "b": torch.tensor([0.5, 9.0])}
    assert over_all(scores, 0.5)["a"].tolist() == [[True, False], [False, True]]
    assert over_all(scores, 0.5)["b"].tolist() == [False, True]
    assert per_layer(scores, 0.5)["a"].tolist() == [[True, False], [False, True]]


def test_no_layer_vanishes():
    scores = {"small": torch.tensor([0.1, 0.2]), "large": torch.arange(1.0, 99.0)}
    assert over_all(scores, 0.5)["small"].tolist() == [False, True]
    assert over_all(scores, 0.5, min_kept=0)["small"].tolist() == [False, False]
    assert over_all(scores, 0.98, min_kept=2)["small"].tolist() == [True, True]


def test_sparsity_0_keeps_all_even_what_is_marked_as_gone():
    scores = {"a": torch.tensor([float("-inf"), 1.0])}
    assert over_all(scores, 0.0)["a"].all() and per_layer(scores, 0.0)["a"].all()


def test_what_is_gone_goes_first():
    scores = {"a": torch.tensor([2.0, float("-inf"), 1.0, float("-inf")])}
    assert over_all(scores, 0.5)["a"].tolist() == [True, False, True, False]
    assert over_all(scores, 0.25)["a"].tolist() == [True, False, True, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats(dtype):
    scores = {"a": torch.tensor([3.0, 1.0, 2.0, 4.0], dtype=dtype)}
    assert over_all(scores, 0.5)["a"].tolist() == [True, False, False, True]


def test_an_empty_layer_and_strides_other_than_contiguous():
    image = torch.rand(2, 3, 4, 4)
    scores = {
        "none": torch.empty(0, 3),
        "image": image.to(memory_format=torch.channels_last),
        "t": torch.rand(3, 2).t(),
    }
    found = over_all(scores, 0.5)
    plain = over_all({name: layer.contiguous() for name, layer in scores.items()}, 0.5)
    assert all(torch.equal(found[name], plain[name]) and found[name].shape == scores[name].shape for name in scores)


def test_refusals():
    for sparsity in (1.0, 1.3, -0.1, float("nan")):
        with pytest.raises(SettingError, match=rf"select: sparsity is {sparsity}, must lie in \[0, 1\); to keep all"):
            over_all({"a": torch.ones(2)}, sparsity)
    for scope in (over_all, per_layer):
        with pytest.raises(ShapeError, match="nothing to choose from; the model has no prunable weight"):
            scope({}, 0.5)
        with pytest.raises(SettingError, match="select: b has scores that are NaN, which have no order"):
            scope({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])}, 0.5)


def test_the_parts():
    assert protect(torch.tensor([1.0, 3.0, 2.0]), 2).tolist() == [1.0, float("inf"), float("inf")]
    assert protect(torch.tensor([1.0]), 5).tolist() == [float("inf")]
    assert keep_largest(torch.tensor([1.0, 1.0, 1.0]), 2).tolist() == [False, False, True]
    assert keep_largest(torch.tensor([float("inf"), 1.0]), 2).tolist() == [True, False]
