import copy
from dataclasses import dataclass, replace

import pytest
import torch
from tiny import SHAPE, Poison, conv_net, mlp, new_run, same_bits, scripted, small_task, state_of
from torch import nn
from torch.nn.functional import cross_entropy

from prunelle.errors import DivergedError, ModelError, SettingError
from prunelle.measure.accuracy import evaluate
from prunelle.schedules import constant, cosine
from prunelle.seeds import derive, generator
from prunelle.train.checkpoint import kept_of
from prunelle.train.ddp import Ranks
from prunelle.train.loop import fit_
from prunelle.train.losses import Plain
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.precision import BF16, SMALLEST_SCALE, Precision
from prunelle.train.settings import EarlyStop, Teacher, TrainSettings
from prunelle.train.stage import Train
from prunelle.train.step import Update, init_state, update

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = TrainSettings(epochs=3, lr=0.1, batch_size=16, schedule=constant)


def plainly(model: nn.Module, task, settings: TrainSettings, seed: int, name: str) -> tuple[nn.Module, list[float]]:
    """The slow version of fit_: the pure update in two loops. Returns the model and the mean loss of each epoch."""
    model = copy.deepcopy(model)
    rule = Update(Plain(task.loss), settings.optimizer, settings.precision)
    state = init_state(model, settings.optimizer)
    steps, losses, step = task.train.num_batches(settings.batch_size, drop_last=True), [], 0
    for epoch in range(settings.epochs):
        model.train()
        total = 0.0
        for batch in task.train.epoch(
            settings.batch_size,
            order=generator(seed, name, "order", epoch),
            augment=lambda number, epoch=epoch: generator(seed, name, "augment", epoch, number),
            drop_last=True,
        ):
            lr = settings.lr_at(step, steps)
            state, loss = update(model, state, batch, rule, lr, derive(seed, name, "step", step))
            total, step = total + float(loss), step + 1
        losses.append(total / steps)
    model.load_state_dict({**state.weights, **state.buffers}, strict=False)
    return model, losses


@pytest.mark.parametrize(
    ("net", "settings"),
    [
        (mlp, SETTINGS),
        (mlp, replace(SETTINGS, optimizer=Adam(), lr=0.01, schedule=cosine, warmup_epochs=1.0)),
        (mlp, replace(SETTINGS, precision=BF16)),
        (lambda: conv_net().to(memory_format=torch.channels_last), SETTINGS),
    ],
    ids=["mlp", "adam", "bf16", "conv"],
)
def test_the_loop_equals_two_plain_loops_over_the_pure_update(tmp_path, net, settings):
    task, run = small_task(50, augmented=True), new_run(tmp_path, seed=5)
    model = net()
    expected, losses = plainly(model, task, settings, 5, "a")
    outcome = fit_(model, task, settings, run, "a")
    assert same_bits(state_of(model), state_of(expected))
    rows = run.rows()
    assert [row["train_loss"] for row in rows] == losses
    assert [row["step"] for row in rows] == [3, 6, 9] and [row["epoch"] for row in rows] == [1, 2, 3]
    found = evaluate(model, task.val, task.loss, task.metric)
    assert (rows[-1]["val_loss"], rows[-1]["val_top1"]) == (found.loss, found.top1)
    assert (outcome.epochs, outcome.epochs_saved) == (3, 0)
    assert sum(outcome.shares.values()) == pytest.approx(1.0, abs=1e-3)
    assert not model.training


def test_a_stage_leaves_the_model_it_was_given(tmp_path):
    model, task = conv_net(), small_task()
    before = state_of(model)
    trained = Train(SETTINGS)(model, task, new_run(tmp_path))
    assert same_bits(state_of(model), before) and model.training
    assert not same_bits(state_of(trained), before) and type(trained) is type(model)
    again = Train(SETTINGS)(model, task, new_run(tmp_path, other=1))
    assert same_bits(state_of(trained), state_of(again))


def test_what_was_learnt_is_right(tmp_path):
    task = small_task()
    trained = Train(replace(SETTINGS, epochs=40))(mlp(), task, new_run(tmp_path))
    assert evaluate(trained, task.test, task.loss, task.metric).top1 >= 0.9


def test_a_teacher_is_imitated(tmp_path):
    task, settings = small_task(), replace(SETTINGS, epochs=40)
    teacher = Train(settings)(mlp(), task, new_run(tmp_path))
    student = Train(replace(settings, teacher=Teacher(teacher, weight=1.0)))(conv_net(), task, new_run(tmp_path, b=1))
    inputs = next(iter(task.test.epoch(24)))[0]
    assert (student(inputs).argmax(1) == teacher(inputs).argmax(1)).float().mean() > 0.8


def test_patience_stops_and_brings_the_best_weights_back(tmp_path):
    # 0.7 is the best; two epochs without better: stop after epoch 4 of 9
    task, run = scripted(small_task(), [0.5, 0.7, 0.7, 0.6, 0.9]), new_run(tmp_path)
    model, wanted = mlp(), mlp()
    outcome = fit_(model, task, replace(SETTINGS, epochs=9, early_stop=EarlyStop(patience=2)), run, "a")
    assert (outcome.epochs, outcome.epochs_saved, outcome.best_epoch) == (4, 5, 2)
    assert (run.rows()[-1]["epochs_saved"], run.rows()[-1]["best_epoch"]) == (5, 2)
    fit_(wanted, small_task(), replace(SETTINGS, epochs=2), new_run(tmp_path, b=1), "a")
    assert same_bits(state_of(model), state_of(wanted))
    again = mlp()
    assert replace(fit_(again, task, replace(SETTINGS, epochs=9, early_stop=EarlyStop(patience=2)), run, "a"),
                   shares={}) == replace(outcome, shares={})  # fmt: skip
    assert same_bits(state_of(again), state_of(model)) and len(run.rows()) == 4


def test_who_does_not_go_back_to_the_best_keeps_the_weights_it_stops_with(tmp_path):
    # As above it stops after epoch 4, though epoch 2 was better
    task, run = scripted(small_task(), [0.5, 0.7, 0.7, 0.6, 0.9]), new_run(tmp_path)
    settings = replace(SETTINGS, epochs=9, early_stop=EarlyStop(patience=2, restore_best=False))
    model, wanted = mlp(), mlp()
    outcome = fit_(model, task, settings, run, "a")
    assert (outcome.epochs, outcome.epochs_saved, outcome.best_epoch) == (4, 5, 4)
    fit_(wanted, small_task(), replace(SETTINGS, epochs=4), new_run(tmp_path, b=1), "a")
    assert same_bits(state_of(model), state_of(wanted))
    audited = replace(settings, epochs=6, early_stop=EarlyStop(patience=2, restore_best=False, audit=True))
    left = mlp()
    fit_(left, scripted(small_task(), [0.5, 0.7, 0.7, 0.6, 0.9, 0.95]), audited, new_run(tmp_path, c=1), "a")
    assert same_bits(state_of(left), state_of(wanted))


def test_a_small_gain_is_taken_and_does_not_count_as_one(tmp_path):
    # 0.7 counts, 0.74 and 0.78 do not rise by more than 0.1 over it: stop after epoch 4, with the weights of 0.78
    task, run = scripted(small_task(), [0.5, 0.7, 0.74, 0.78, 0.9]), new_run(tmp_path)
    stop = EarlyStop(patience=2, min_gain=0.1)
    outcome = fit_(mlp(), task, replace(SETTINGS, epochs=9, early_stop=stop), run, "a")
    assert (outcome.epochs, outcome.epochs_saved, outcome.best_epoch) == (4, 5, 4)


def test_an_audited_training_goes_on_and_ends_with_what_it_would_have_stopped_with(tmp_path):
    # As above it would stop after epoch 4 with the weights of epoch 2; 0.9 comes after that and changes nothing
    scores = [0.5, 0.7, 0.7, 0.6, 0.9, 0.95]
    run, settings = new_run(tmp_path), replace(SETTINGS, epochs=6, early_stop=EarlyStop(patience=2, audit=True))
    model, left, end = mlp(), mlp(), mlp()
    outcome = fit_(model, scripted(small_task(), scores), settings, run, "a")
    assert (outcome.epochs, outcome.epochs_saved, outcome.best_epoch) == (4, 2, 2)
    assert len(run.rows()) == 6 and (run.rows()[-1]["epoch"], run.rows()[-1]["epochs_saved"]) == (6, 2)
    fit_(left, small_task(), replace(settings, epochs=2, early_stop=None), new_run(tmp_path, b=1), "a")
    fit_(end, small_task(), replace(settings, early_stop=None), new_run(tmp_path, c=1), "a")
    assert same_bits(state_of(model), state_of(left))
    tensors, _ = run.load_checkpoint("a")
    assert same_bits(kept_of(tensors)["good"], state_of(end))
    again = mlp()
    assert fit_(again, small_task(), settings, run, "a").epochs == 4 and same_bits(state_of(again), state_of(left))


def test_an_audited_training_that_diverges_after_it_would_have_stopped_ends_all_the_same(tmp_path):
    steps = small_task().train.num_batches(SETTINGS.batch_size, drop_last=True)
    scores = [0.5, 0.7, 0.7, 0.6, 0.9, 0.9, 0.9]
    run, settings = new_run(tmp_path), replace(SETTINGS, epochs=6, early_stop=EarlyStop(patience=2, audit=True))
    poisoned = replace(scripted(small_task(), scores), loss=Poison(5 * steps + 1, float("nan")))
    model, left, end = mlp(), mlp(), mlp()
    outcome = fit_(model, poisoned, settings, run, "a")
    assert (outcome.epochs, outcome.epochs_saved, outcome.best_epoch) == (4, 2, 2)
    assert run.rows()[-1]["diverged"] and (run.rows()[-1]["epoch"], run.rows()[-1]["epochs_saved"]) == (6, 2)
    fit_(left, small_task(), replace(settings, epochs=2, early_stop=None), new_run(tmp_path, b=1), "a")
    fit_(end, small_task(), replace(settings, epochs=5, early_stop=None), new_run(tmp_path, c=1), "a")
    assert same_bits(state_of(model), state_of(left))
    assert same_bits(kept_of(run.load_checkpoint("a")[0])["good"], state_of(end))
    again = mlp()
    assert fit_(again, poisoned, settings, run, "a").epochs == 4 and same_bits(state_of(again), state_of(left))


def test_a_target_reached_stops_at_once(tmp_path):
    task, run = scripted(small_task(), [0.5, 0.8]), new_run(tmp_path)
    outcome = fit_(mlp(), task, replace(SETTINGS, epochs=6, early_stop=EarlyStop(target=0.8)), run, "a")
    assert (outcome.epochs, outcome.epochs_saved, outcome.best_epoch) == (2, 4, 2)


def test_without_early_stopping_the_last_weights_are_kept_unless_asked(tmp_path):
    scores = [0.9, 0.2, 0.5, 0.4]
    settings = replace(SETTINGS, epochs=4)
    wanted = [Train(replace(settings, epochs=n))(mlp(), small_task(), new_run(tmp_path, n=n)) for n in (3, 4)]
    last = Train(settings)(mlp(), scripted(small_task(), scores), new_run(tmp_path, last=1))
    best = Train(replace(settings, best_from=0.5))(mlp(), scripted(small_task(), scores), new_run(tmp_path, best=1))
    assert same_bits(state_of(last), state_of(wanted[1]))
    assert same_bits(state_of(best), state_of(wanted[0]))  # epoch 1 was better, but before half of the training


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_is_caught_in_its_step(tmp_path, factor):
    task, run, model = small_task(), new_run(tmp_path), mlp()
    poisoned = replace(task, loss=Poison(5, factor))
    with pytest.raises(DivergedError, match=r"^a: the loss was not finite .* at step 4; the last good") as caught:
        fit_(model, poisoned, SETTINGS, run, "a")
    assert caught.value.last_good is model and not model.training
    # 3 updates an epoch: the weights are those after update 4, the second epoch's first
    wanted = mlp()
    with pytest.raises(KeyboardInterrupt):
        fit_(wanted, task, SETTINGS, new_run(tmp_path, b=1), "a", constraint=StopAt(4))
    assert same_bits(state_of(model), state_of(wanted))
    assert run.rows()[-1] == {"stage": "a", "diverged": True, "step": 4, "epoch": 2}


@dataclass
class StopAt:
    """A constraint that interrupts after an update."""

    at: int

    def start_(self, step, state):
        pass

    def after_update_(self, step):
        if step == self.at:
            raise KeyboardInterrupt

    def state(self):
        return {}

    def settled(self, step):
        return True


def test_diverged_stays_diverged(tmp_path):
    run = new_run(tmp_path)
    first, second = mlp(), mlp()
    task = replace(small_task(), loss=Poison(5, float("nan")))
    for model in (first, second):
        with pytest.raises(DivergedError, match="at step 4"):
            fit_(model, task, SETTINGS, run, "a")
    assert same_bits(state_of(first), state_of(second))
    assert [row.get("diverged", False) for row in run.rows()] == [False, True]


def test_an_infinite_gradient_is_caught(tmp_path):
    model = mlp()
    seen = []

    def blow(gradient):
        seen.append(1)
        return gradient * float("inf") if len(seen) == 2 else gradient

    model[3].weight.register_hook(blow)
    with pytest.raises(DivergedError, match="at step 1"):
        fit_(model, small_task(), SETTINGS, new_run(tmp_path), "a")
    assert all(t.isfinite().all() for t in model.state_dict().values())


def test_a_runaway_loss_goes_back_to_the_last_epoch(tmp_path):
    task, model, wanted = small_task(), conv_net(), conv_net()
    with pytest.raises(DivergedError, match=r"grew 1000-fold at step 4"):
        fit_(model, replace(task, loss=Poison(5, 1e6)), SETTINGS, new_run(tmp_path), "a")
    fit_(wanted, task, replace(SETTINGS, epochs=1), new_run(tmp_path, b=1), "a")
    assert same_bits(state_of(model), state_of(wanted))


class Overflowing(nn.Module):
    """Batch norm that is given NaN at call number `at`, so its buffers are spoilt before the loss shows it."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.net, self.at, self.calls = conv_net(), at, 0

    def forward(self, x):
        self.calls += self.training
        return self.net(x * float("nan")) if self.training and self.calls == self.at else self.net(x)


def test_buffers_spoilt_by_nan_come_back_too(tmp_path):
    # channels_last is tried once on a copy, whose call is not counted here
    model, run = Overflowing(5), new_run(tmp_path)
    with pytest.raises(DivergedError):
        fit_(model, small_task(), SETTINGS, run, "a")
    wanted = conv_net()
    fit_(wanted, small_task(), replace(SETTINGS, epochs=1), new_run(tmp_path, b=1), "a")
    assert same_bits(state_of(model.net), state_of(wanted))


def test_weights_that_overflow_in_the_update_come_back_too(tmp_path):
    task, model = small_task(), mlp()
    settings = replace(SETTINGS, lr=3e38, optimizer=Sgd(momentum=0.0))
    with pytest.raises(DivergedError):
        fit_(model, task, settings, new_run(tmp_path), "a")
    assert same_bits(state_of(model), state_of(mlp()))


def test_a_loss_of_val_that_is_not_finite_is_divergence(tmp_path):
    task, run = small_task(), new_run(tmp_path)
    bad = replace(task, loss=lambda o, t: cross_entropy(o, t) * (1 if o.requires_grad else float("inf")))
    model = mlp()
    with pytest.raises(DivergedError, match="at step 3"):
        fit_(model, bad, SETTINGS, run, "a")
    assert same_bits(state_of(model), state_of(mlp()))
    assert [row["diverged"] for row in run.rows()] == [True]


def test_a_scale_too_large_skips_updates_and_a_gradient_that_never_fits_is_divergence(tmp_path, monkeypatch):
    monkeypatch.setattr(Precision, "check", lambda self, device: None)
    settings = replace(SETTINGS, epochs=20, precision=Precision(None, scaled=True))
    run, model = new_run(tmp_path), mlp()
    model[3].weight.register_hook(lambda gradient: gradient if gradient.abs().max() < 10 else gradient * float("inf"))
    fit_(model, small_task(), settings, run, "a")
    assert 2 < run.load_checkpoint("a")[1]["scale"]["value"] < 1024
    assert not same_bits(state_of(model), state_of(mlp()))
    model = mlp()
    model[3].weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(DivergedError):
        fit_(model, small_task(), settings, new_run(tmp_path, b=1), "a")
    assert SMALLEST_SCALE == 2.0**-14


def test_a_network_that_views_its_activations_trains(tmp_path):
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(64, 3)

        def forward(self, x):
            x = self.conv(x)
            return self.head(x.view(x.shape[0], -1))

    trained = Train(replace(SETTINGS, epochs=1))(Views(), small_task(), new_run(tmp_path))
    assert trained.conv.weight.is_contiguous()


def test_weights_leave_contiguous_whatever_they_trained_in(tmp_path):
    trained = Train(replace(SETTINGS, epochs=1))(conv_net(), small_task(), new_run(tmp_path))
    assert all(p.is_contiguous() for p in trained.parameters())


def test_a_buffer_that_the_model_replaces_is_followed(tmp_path):
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            if self.training:
                self.seen = self.seen + len(x)
            return self.net(x)

    settings = replace(SETTINGS, checkpoint_steps=1)
    run = new_run(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit_(Counts(), small_task(), settings, run, "a", constraint=StopAt(5))
    model = Counts()
    fit_(model, small_task(), settings, run, "a")
    assert model.seen.item() == 3 * 48


def test_a_model_with_nothing_to_train_is_refused(tmp_path):
    model = mlp().requires_grad_(False)
    with pytest.raises(ModelError, match="a: every weight of the model is frozen; set requires_grad"):
        fit_(model, small_task(), SETTINGS, new_run(tmp_path), "a")


def test_fewer_examples_than_ranks_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("prunelle.train.loop.join", lambda device: Ranks(1, 17))
    with pytest.raises(SettingError, match="a batch has 16 examples for 17 ranks, must have one for each"):
        fit_(mlp(), small_task(), SETTINGS, new_run(tmp_path), "a")


def test_other_ranks_than_the_first_write_nothing(tmp_path, monkeypatch):
    class Silent(Ranks):
        def average_(self, tensors, weight): ...
        def broadcast_(self, tensors): ...
        def barrier(self): ...

    monkeypatch.setattr("prunelle.train.loop.join", lambda device: Silent(1, 2))
    run = new_run(tmp_path)
    before = {p.name for p in run.folder.iterdir()}
    fit_(mlp(), small_task(), replace(SETTINGS, checkpoint_steps=1), run, "a")
    assert {p.name for p in run.folder.iterdir()} == before


def test_images_of_the_task_are_as_the_model_takes_them():
    assert small_task().input_shape == SHAPE
