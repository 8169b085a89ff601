"""One suite over every score of channels: what unit_scores and the steps count on. A public function in
prune/channel_scores.py is taken up by itself."""

import inspect

import pytest
import torch
from tiny import bits, conv_net, same_bits, small_task, state_of

from prunelle.prune import channel_scores
from prunelle.prune.channel_evidence import KNOWN
from prunelle.prune.channel_select import over_all_sets, per_layer, per_set
from prunelle.prune.channels import plan_channels, prune_channels

pytestmark = pytest.mark.usefixtures("one_thread")

SCORES = {
    name: value
    for name, value in vars(channel_scores).items()
    if inspect.isfunction(value) and value.__module__ == channel_scores.__name__
}
SHAPES = {"linear": (3, 4), "convolution": (4, 3, 3, 3), "one": (1, 1)}


def given(score, weight, seed=0):
    """The score with whatever it asks for."""
    draw = torch.Generator().manual_seed(1)
    row = torch.rand(len(weight), generator=draw).to(weight.dtype)
    ready = dict.fromkeys(KNOWN, row)
    ready["gradient"] = torch.randn(weight.shape, generator=draw).to(weight.dtype)
    ready["generator"] = torch.Generator().manual_seed(seed)
    wanted = list(inspect.signature(score).parameters)[1:]
    return score(weight, **{name: ready[name] for name in wanted if name in ready})


def weight_of(shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(dtype)


def example(task):
    return next(iter(task.val.epoch(1)))[0]


@pytest.mark.parametrize("name", SCORES)
def test_the_first_argument_is_the_weight_and_the_docstring_names_what_comes_out(name):
    assert next(iter(inspect.signature(SCORES[name]).parameters)) == "weight"
    assert "higher = keep" in " ".join((SCORES[name].__doc__ or "").split())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("name", SCORES)
def test_one_finite_number_a_row_and_the_weight_stays(name, shape):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        weight = weight_of(shape, dtype)
        before = bits(weight)
        scores = given(SCORES[name], weight)
        assert scores.shape == shape[:1] and scores.is_floating_point() and scores.isfinite().all()
        assert bits(weight) == before


@pytest.mark.parametrize("name", SCORES)
def test_rows_in_another_order_have_their_scores_in_that_order(name):
    weight, order = weight_of((6, 5)), torch.tensor([3, 1, 5, 0, 2, 4])
    if "generator" in inspect.signature(SCORES[name]).parameters:
        return  # blind to the rows
    needs = {n: weight_of((6, 5)) if n == "gradient" else weight_of((6,)) for n in KNOWN if n in parameters(name)}
    straight = SCORES[name](weight, **needs)
    turned = SCORES[name](weight[order], **{n: value[order] for n, value in needs.items()})
    assert torch.allclose(straight[order], turned)


def parameters(name):
    return inspect.signature(SCORES[name]).parameters


@pytest.mark.parametrize("scope", [per_set, per_layer, over_all_sets])
@pytest.mark.parametrize("name", SCORES)
def test_half_the_channels_go_the_model_stays_and_one_seed_gives_one_network(name, scope):
    model, task = conv_net(), small_task(130)
    before = state_of(model)
    made = [prune_channels(model, example(task), 0.5, score=SCORES[name], scope=scope, task=task) for _ in range(2)]
    assert same_bits(state_of(model), before) and same_bits(*map(state_of, made))
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert made[0][8].in_features < model[8].in_features and made[0](example(task)).shape == (1, 3)


@pytest.mark.parametrize("of", ["channels", "macs", "params"])
@pytest.mark.parametrize("name", SCORES)
def test_at_amount_0_nothing_changes(name, of):
    model, task = conv_net(), small_task(130)
    plan = plan_channels(model, example(task), 0.0, score=SCORES[name], of=of, task=task)
    assert not plan.removed.any() and not plan.cuts.tensors
    assert same_bits(state_of(plan.apply(model)), state_of(model))
