"""train/averaging.py: a running average of weights by hand, and in the loop against the plain version."""

from dataclasses import replace

import pytest
import torch
from tiny import Poison, conv_net, mlp, new_run, same_bits, scripted, small_task, state_of
from torch import Tensor, nn

from prunelle.errors import DivergedError, SettingError
from prunelle.measure.accuracy import evaluate
from prunelle.prune.weights import PruneGradually
from prunelle.schedules import constant
from prunelle.seeds import derive, generator
from prunelle.train.averaging import average_, averaged, kept_share
from prunelle.train.checkpoint import kept_of
from prunelle.train.loop import fit_
from prunelle.train.losses import Plain
from prunelle.train.settings import EarlyStop, TrainSettings
from prunelle.train.step import TrainState, Update, init_state, update

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = TrainSettings(epochs=3, lr=0.1, batch_size=16, schedule=constant)


def test_how_far_an_average_reaches_by_hand():
    # It reaches over 1 / (1 - kept) updates: a tenth of those so far and one more, until that is the span.
    reach = [1 / (1 - kept_share(step, 5.0)) for step in (0, 9, 29, 39, 40, 1000)]
    assert reach == pytest.approx([1.1, 2.0, 4.0, 5.0, 5.0, 5.0])
    assert kept_share(7, 1.0) == kept_share(7, 0.3) == 0.0  # no more than the last update: no average at all


def state(weight: float, counter: int, **buffers: float) -> TrainState:
    held = {name: torch.tensor([value]) for name, value in buffers.items()}
    return TrainState({"w": torch.tensor([weight])}, {"seen": torch.tensor(counter), **held}, {})


def test_an_average_by_hand():
    mean = {"w": torch.tensor([1.0]), "seen": torch.tensor(0), "b": torch.tensor([4.0])}
    average_(mean, state(3.0, 7, b=0.0, new=5.0), 0.75)
    assert {name: value.tolist() for name, value in mean.items()} == {"w": [1.5], "seen": 7, "b": [3.0], "new": [5.0]}
    average_(mean, state(3.0, 8, b=0.0, new=1.0), 0.0)
    assert {name: value.tolist() for name, value in mean.items()} == {"w": [3.0], "seen": 8, "b": [0.0], "new": [1.0]}


def test_the_average_is_put_in_place_for_a_while():
    own = state(3.0, 7)
    with averaged(own, {"w": torch.tensor([1.0]), "seen": torch.tensor(2)}):
        assert own.weights["w"].item() == 1.0 and own.buffers["seen"] == 2
    assert own.weights["w"].item() == 3.0 and own.buffers["seen"] == 7
    with averaged(own, {}):
        assert own.weights["w"].item() == 3.0
    with pytest.raises(RuntimeError), averaged(own, {"w": torch.tensor([1.0]), "seen": torch.tensor(2)}):
        raise RuntimeError
    assert own.weights["w"].item() == 3.0


def averages(
    settings: TrainSettings, span: float, epochs: int, updates: int | None = None
) -> list[dict[str, torch.Tensor]]:
    """The average after each epoch, of weights that a pure update gives; the last after so many updates in all, where
    told. span: in updates."""
    model, task = mlp(), small_task()
    rule, state = Update(Plain(task.loss), settings.optimizer), init_state(model, settings.optimizer)
    steps, step, found = task.train.num_batches(settings.batch_size, drop_last=True), 0, []
    mean = {name: value.clone() for name, value in state_of(model).items()}
    for epoch in range(epochs):
        for batch in task.train.epoch(
            settings.batch_size,
            order=generator(0, "a", "order", epoch),
            augment=lambda number, epoch=epoch: generator(0, "a", "augment", epoch, number),
            drop_last=True,
        ):
            if step == updates:
                break
            state, _ = update(model, state, batch, rule, settings.lr_at(step, steps), derive(0, "a", "step", step))
            kept = min(1 - 1 / span, (1 + step) / (11 + step)) if span > 1 else 0.0
            mean = {name: kept * old + (1 - kept) * state.weights[name] for name, old in mean.items()}
            step += 1
        found.append(mean)
    return found


def nearly(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.allclose(one[name], two[name], atol=1e-6) for name in one)


@pytest.mark.parametrize("epochs", [0.1, 0.5, 2.0])
def test_an_average_is_what_val_looks_at_and_what_is_given(tmp_path, epochs):
    task, run, model = small_task(), new_run(tmp_path), mlp()
    steps = task.train.num_batches(SETTINGS.batch_size, drop_last=True)
    settings = replace(SETTINGS, average_epochs=epochs)
    fit_(model, task, settings, run, "a")
    wanted = averages(settings, epochs * steps, 3)
    assert nearly(state_of(model), wanted[-1])
    found = evaluate(model, task.val, task.loss, task.metric)
    assert (run.rows()[-1]["val_loss"], run.rows()[-1]["val_top1"]) == (found.loss, found.top1)
    tensors, _ = run.load_checkpoint("a")
    raw = mlp()
    fit_(raw, task, SETTINGS, new_run(tmp_path, raw=1), "a")
    # Training itself goes on with its own weights.
    assert same_bits({name: tensors[f"weights:{name}"] for name in wanted[-1]}, state_of(raw))
    assert same_bits(kept_of(tensors)["mean"], state_of(model))
    assert nearly(state_of(model), state_of(raw)) == (epochs * steps <= 1)


def test_who_stops_early_gets_the_average_of_then(tmp_path):
    scores = [0.5, 0.7, 0.7, 0.6, 0.9, 0.95]
    settings = replace(SETTINGS, epochs=6, average_epochs=1.0, early_stop=EarlyStop(patience=2, audit=True))
    run, model = new_run(tmp_path), mlp()
    assert fit_(model, scripted(small_task(), scores), settings, run, "a").best_epoch == 2
    wanted = averages(settings, small_task().train.num_batches(settings.batch_size, drop_last=True), 6)
    assert nearly(state_of(model), wanted[1])
    assert nearly(kept_of(run.load_checkpoint("a")[0])["good"], wanted[5])


def test_an_average_holds_what_batch_norm_has_seen(tmp_path):
    model, raw, settings = conv_net(), conv_net(), replace(SETTINGS, epochs=1)
    fit_(model, small_task(), replace(settings, average_epochs=50.0), new_run(tmp_path), "a")
    fit_(raw, small_task(), settings, new_run(tmp_path, b=1), "a")
    begun, mine, theirs = (dict(one.named_buffers()) for one in (conv_net(), model, raw))
    name = next(name for name in mine if name.endswith("running_mean"))
    assert not torch.equal(mine[name], theirs[name]) and not torch.equal(mine[name], begun[name])
    count = name.replace("running_mean", "num_batches_tracked")
    assert mine[count] == theirs[count] > 0


def test_a_training_that_diverges_gives_the_average_of_before(tmp_path):
    steps = small_task().train.num_batches(SETTINGS.batch_size, drop_last=True)
    settings = replace(SETTINGS, average_epochs=1.0)
    at_end = averages(settings, steps, 2)[1]
    for late in (1, 3):  # of the third epoch's updates; before the first the average is that of the epoch's end
        poisoned = replace(small_task(), loss=Poison(2 * steps + late, float("nan")))
        with pytest.raises(DivergedError) as caught:
            fit_(mlp(), poisoned, settings, new_run(tmp_path, late=late), "a")
        assert nearly(state_of(caught.value.last_good), at_end) == (late == 1)
        stopped = averages(settings, steps, 3, updates=2 * steps + late - 1)[-1]
        assert nearly(state_of(caught.value.last_good), stopped)


def test_weights_that_are_held_are_not_averaged(tmp_path):
    with pytest.raises(SettingError, match="average_epochs is 1 and its weights are held, such as by a mask"):
        PruneGradually(0.5, replace(SETTINGS, average_epochs=1.0))(mlp(), small_task(), new_run(tmp_path))


class Follows(nn.Module):
    """A network that puts another tensor in the place of its buffer in every forward pass."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen = self.seen + 0.1 * (images.mean() - self.seen)
            if not hasattr(self, "first"):
                self.register_buffer("first", images.mean().detach())
        return self.net(images)


def test_a_buffer_that_a_module_puts_anew_is_averaged_whenever_checkpoints_are_written(tmp_path):
    found = []
    for every in (1, 1000):
        model = Follows()
        settings = replace(SETTINGS, average_epochs=1.0, checkpoint_steps=every)
        fit_(model, small_task(), settings, new_run(tmp_path, every=every), "a")
        found.append(state_of(model))
    assert same_bits(*found) and found[0]["seen"] != 0 and "first" in found[0]
    raw = Follows()
    fit_(raw, small_task(), SETTINGS, new_run(tmp_path, raw=1), "a")
    assert not torch.equal(raw.seen, found[0]["seen"])
