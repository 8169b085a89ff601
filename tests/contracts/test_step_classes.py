"""One suite over every step: frozen, named, leaves the model it was given, goes on after an interruption. A step class
that has no example here turns it red."""

import copy
import dataclasses
import inspect
import pkgutil
from importlib import import_module

import pytest
import torch
from tiny import conv_net, new_run, same_bits, small_task, state_of

import prunelle
from prunelle.prune.block_steps import RemoveBlocks
from prunelle.prune.channel_repairs import batch_norm_repair, least_squares_repair
from prunelle.prune.channel_steps import PruneChannels, PruneChannelsGradually
from prunelle.prune.group_sparse import GroupSparse
from prunelle.prune.latency_steps import PruneToLatency
from prunelle.prune.latency_target import Target
from prunelle.prune.weights import PruneGradually, PruneWeights, Retrain
from prunelle.quantize.halves import RoundToHalf
from prunelle.quantize.ptq import Dynamic, PostTrainingStatic, QuantizeWeights
from prunelle.quantize.qat import QuantizationAwareTraining
from prunelle.quantize.sharing import ShareWeights
from prunelle.runs import Run
from prunelle.ship.eager import eager
from prunelle.steps import Chain
from prunelle.train import loop
from prunelle.train.settings import TrainSettings
from prunelle.train.stage import Train

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = TrainSettings(epochs=3, lr=0.05, batch_size=16, checkpoint_steps=2)
SETTINGS_OF_VALUES = dataclasses.replace(SETTINGS, lr=1e-3)
EXAMPLES = {
    Train: Train(SETTINGS),
    PruneWeights: PruneWeights(0.6),
    Retrain: Retrain(SETTINGS),
    PruneGradually: PruneGradually(0.8, SETTINGS, frequency=2),
    RemoveBlocks: RemoveBlocks(num=0),  # there are none in the network below
    PruneChannels: PruneChannels(0.5),
    PruneChannelsGradually: PruneChannelsGradually(
        0.5, 2, SETTINGS, of="macs", repairs=(batch_norm_repair, least_squares_repair)
    ),
    GroupSparse: GroupSparse(0.1, SETTINGS),
    PruneToLatency: PruneToLatency(Target(ms=1e6), eager, seconds=0.01),  # fast enough: what is cut depends on times
    QuantizeWeights: QuantizeWeights(4),
    PostTrainingStatic: PostTrainingStatic(),
    Dynamic: Dynamic(),
    QuantizationAwareTraining: QuantizationAwareTraining(4, SETTINGS, bits_activations=8),
    ShareWeights: ShareWeights(4, SETTINGS_OF_VALUES, biases=2),
    RoundToHalf: RoundToHalf(),
    Chain: Chain((PruneWeights(0.5), Retrain(SETTINGS), PruneWeights(0.8, name="again"), Retrain(SETTINGS, "more"))),
}
STILL = {
    RoundToHalf,
    PruneWeights,
    RemoveBlocks,
    PruneChannels,
    PruneToLatency,
    QuantizeWeights,
    PostTrainingStatic,
    Dynamic,
}
"""Those that do not train."""
ROOMS = ("steps", "train", "prune", "quantize", "tickets", "classwise", "anytime")


class Interrupted(BaseException):
    pass


def step_classes() -> set[type]:
    """Classes whose call is (model, task, run), in the rooms that may hold steps; protocols are left out."""
    found = set()
    for info in pkgutil.walk_packages(prunelle.__path__, "prunelle."):
        if info.name.split(".")[1] not in ROOMS:
            continue
        for value in vars(import_module(info.name)).values():
            call = vars(value).get("__call__") if inspect.isclass(value) else None
            own = call is not None and value.__module__ == info.name and not getattr(value, "_is_protocol", False)
            if own and list(inspect.signature(call).parameters) == ["self", "model", "task", "run"]:
                found.add(value)
    return found


def test_every_step_has_an_example():
    assert step_classes() == set(EXAMPLES)


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_a_step_is_a_frozen_value_with_a_name(kind):
    step = EXAMPLES[kind]
    assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen
    assert isinstance(step.name, str) and step.name
    with pytest.raises(dataclasses.FrozenInstanceError):
        step.name = "other"
    assert copy.deepcopy(step) == step
    for field in dataclasses.fields(kind):
        assert not isinstance(field.default, (list, dict, set))


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_the_model_that_was_given_stays_as_it_was(kind, tmp_path):
    model, task = conv_net(), small_task(augmented=True)
    model[1].eval()
    before = state_of(model)
    flags = [module.training for module in model.modules()]
    grads = [p.requires_grad for p in model.parameters()]
    made = EXAMPLES[kind](model, task, new_run(tmp_path))
    assert same_bits(state_of(model), before)
    assert [module.training for module in model.modules()] == flags
    assert [p.requires_grad for p in model.parameters()] == grads and all(p.grad is None for p in model.parameters())
    assert made is not model and type(made) is type(model)
    given = {t.data_ptr() for t in (*model.parameters(), *model.buffers())}
    assert not given & {t.data_ptr() for t in (*made.parameters(), *made.buffers())}


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_the_same_run_gives_the_same_bits_also_when_it_is_done_already(kind, tmp_path):
    task = small_task(augmented=True)
    first = state_of(EXAMPLES[kind](conv_net(), task, new_run(tmp_path / "a")))
    other = state_of(EXAMPLES[kind](conv_net(), task, new_run(tmp_path / "b")))
    again = state_of(EXAMPLES[kind](conv_net(), task, new_run(tmp_path / "a")))
    assert same_bits(first, other) and same_bits(first, again)


@pytest.mark.parametrize("at", [0, 4, 8])
@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_interrupted_and_called_again_it_gives_the_same_bits(kind, at, tmp_path, monkeypatch):
    task, model = small_task(augmented=True), conv_net()
    expected = state_of(EXAMPLES[kind](model, task, new_run(tmp_path / "a")))
    run, update_, calls = new_run(tmp_path / "b"), loop.update_, []

    def fall(*args):
        calls.append(1)
        if len(calls) == at + 1:
            raise Interrupted
        return update_(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "update_", fall)
        try:
            EXAMPLES[kind](model, task, run)
        except Interrupted:
            pass
        else:
            assert kind in STILL
    assert same_bits(state_of(EXAMPLES[kind](model, task, run)), expected)


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_a_seed_changes_only_what_is_random(kind, tmp_path):
    task = small_task()
    found = [state_of(EXAMPLES[kind](conv_net(), task, Run.open(tmp_path, {}, seed))) for seed in (0, 1)]
    assert same_bits(*found) == (kind in STILL)  # magnitude draws nothing
    assert all(torch.isfinite(t).all() for state in found for t in state.values())
