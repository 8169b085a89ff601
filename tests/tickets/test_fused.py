"""Fused training against one after the other: weights, buffers, optimizer state and losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from tiny import mlp, same_bits, seeded
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from prunelle.data.task import Batch
from prunelle.errors import ModelError
from prunelle.measure.params import prunable
from prunelle.models.lenet import lenet5, lenet_300_100
from prunelle.models.resnet import BasicBlock, resnet20
from prunelle.tickets.fused import FusedTrainer
from prunelle.tickets.fused_chain import Chain
from prunelle.tickets.trainer import PlainTrainer, Start, Trainer
from prunelle.train.losses import Distillation, Objective, Plain, SmoothedLabels
from prunelle.train.optimizers import Adam, Optimizer, Sgd
from prunelle.train.step import Update

Shape = tuple[int, int, int]
KEPT = (None, 0.5, 0.2)
"""Shares of the members' masks; None = no mask."""


@pytest.fixture(autouse=True)
def alone(one_thread: None) -> None:
    """Small tensors: a second thread would only wait, and bits hold on one."""


def starts_of(make: Callable[[], nn.Module], members: int, dtype: torch.dtype = torch.float32) -> list[Start]:
    """Each with its own weights and mask."""
    starts = []
    for number in range(members):
        model = seeded(make, number).to(dtype)
        share, drawn = KEPT[number % len(KEPT)], torch.Generator().manual_seed(number)
        kept = {n: torch.rand(w.shape, generator=drawn) < share for n, w in trained(model).items()} if share else {}
        starts.append(Start(model.state_dict(), kept))
    return starts


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in prunable(model).items() if weight.requires_grad}


def batch_of(shape: Shape, size: int, number: int, dtype: torch.dtype = torch.float32) -> Batch:
    """Images in a border of -0.5, as a digit's, and labels below 3."""
    drawn = torch.Generator().manual_seed(number)
    images = torch.full((size, *shape), -0.5, dtype=dtype)
    images[..., 2:-2, 2:-2] = torch.randn(size, shape[0], shape[1] - 4, shape[2] - 4, generator=drawn, dtype=dtype)
    return images, torch.randint(0, 3, (size,), generator=drawn)


def batches_at(step: int, members: int, shape: Shape, size: int, dtype: torch.dtype = torch.float32) -> list[Batch]:
    """Members 0 and 2 read the same tensors, every other one its own."""
    shared = batch_of(shape, size, 1000 * step, dtype)
    return [shared if m in (0, 2) else batch_of(shape, size, 1000 * step + m, dtype) for m in range(members)]


def lrs_of(members: int) -> list[float]:
    return [0.01 * (1 + member % 2) for member in range(members)]


def both(
    make: Callable[[], nn.Module], shape: Shape, rule: Update, dtype: torch.dtype, grouped: bool | None = None
) -> tuple[PlainTrainer, FusedTrainer]:
    """Three members."""
    model, starts = make().to(dtype), starts_of(make, 3, dtype)
    return PlainTrainer(model, starts, rule, shape), FusedTrainer(model, starts, rule, shape, grouped)


def step_both_(pair: Sequence[Trainer], steps: range, shape: Shape, size: int, dtype: torch.dtype, off: float) -> None:
    """Losses may differ by `off`."""
    members = pair[0].num_members
    for step in steps:
        batches = batches_at(step, members, shape, size, dtype)
        losses = [one.step_(batches, lrs_of(members), [step] * members) for one in pair]
        assert losses[0].shape == losses[1].shape == (members,)
        torch.testing.assert_close(losses[1], losses[0], rtol=0, atol=off)


def differences(plain: Trainer, fused: Trainer) -> list[float]:
    """The largest of each tensor of each member, buffers and optimizer state included."""
    found = []
    for member in range(plain.num_members):
        one, other = plain.tensors(member), fused.tensors(member)
        assert list(one) == list(other)
        found += [apart(one[name], other[name]) for name in one]
        mine, theirs = plain.optimizer(member), fused.optimizer(member)
        assert mine.keys() == theirs.keys()
        found += [apart(a, b) for q in mine for a, b in zip(mine[q], theirs[q], strict=True)]
    return found


def apart(one: Tensor, other: Tensor) -> float:
    assert (one.shape, one.dtype, other.is_contiguous()) == (other.shape, other.dtype, True)
    return float((one.double() - other.double()).abs().max())


def mlp784() -> nn.Module:
    return lenet_300_100()


def small_lenet5() -> nn.Module:
    return lenet5(input_shape=(1, 16, 16), num_classes=3)


def convolved_shortcuts() -> nn.Module:
    """The ImageNet family's block: its shortcut is a convolution with batch norm."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.ReLU(),
        BasicBlock(4, 6, 2),
        BasicBlock(6, 6, 1),
        nn.Flatten(),
        nn.Linear(54, 3),
    )


def every_layer() -> nn.Module:
    """Groups, strides, dilation, 'same', norms with and without weights, a momentum of None, frozen weights."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same", dilation=2),
        nn.GroupNorm(2, 4),
        nn.Conv2d(4, 8, 3, stride=2, groups=2, bias=False),
        nn.BatchNorm2d(8, momentum=None),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(8, affine=False, track_running_stats=False),
        nn.LayerNorm((8, 1, 1)),
        nn.Flatten(),
        nn.Linear(8, 6, bias=False),
        nn.BatchNorm1d(6),
        nn.Sigmoid(),
        nn.LayerNorm(6, elementwise_affine=False),
        nn.Linear(6, 3),
    )
    model[8].requires_grad_(False)
    return model


@pytest.mark.parametrize("optimizer", [Sgd(0.9, weight_decay=1e-4), Adam()])
def test_a_hundred_steps_of_lenet_300_100(optimizer):
    pair = both(mlp784, (1, 28, 28), Update(Plain(cross_entropy), optimizer), torch.float32)
    step_both_(pair, range(100), (1, 28, 28), 8, torch.float32, 1e-6)
    assert max(differences(*pair)) <= 1e-6


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    ("make", "shape", "optimizer"),
    [
        (small_lenet5, (1, 16, 16), Sgd(0.9)),
        (lambda: resnet20(num_classes=3), (3, 8, 8), Sgd(0.9, weight_decay=1e-4, nesterov=True)),
        (convolved_shortcuts, (3, 8, 8), Adam(decoupled=True, weight_decay=0.1)),
    ],
    ids=["lenet5", "resnet20", "convolved"],
)
def test_twenty_steps_in_double(make, shape, optimizer, grouped):
    pair = both(make, shape, Update(Plain(cross_entropy), optimizer), torch.float64, grouped)
    step_both_(pair, range(20), shape, 4, torch.float64, 1e-12)
    assert max(differences(*pair)) <= 1e-12


@pytest.mark.parametrize("spoil", ["curved", "frozen", "nothing"])
def test_a_large_first_layer_in_and_out_of_a_chain(spoil):
    """784 x 64 weights, beside what makes a network none that is written out."""

    def make() -> nn.Module:
        between = nn.Tanh() if spoil == "curved" else nn.ReLU()
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), between, nn.Linear(64, 3))
        model[3].requires_grad_(spoil != "frozen")
        return model

    pair = both(make, (1, 28, 28), Update(Plain(cross_entropy), Sgd()), torch.float64)
    step_both_(pair, range(4), (1, 28, 28), 8, torch.float64, 1e-12)
    assert max(differences(*pair)) <= 1e-12
    assert isinstance(pair[1].passes, Chain) == (spoil == "nothing")


@pytest.mark.parametrize("grouped", [False, True])
def test_every_kind_of_layer(grouped):
    pair = both(every_layer, (2, 8, 8), Update(Plain(cross_entropy), Sgd(0.9)), torch.float64, grouped)
    step_both_(pair, range(4), (2, 8, 8), 8, torch.float64, 1e-12)
    assert max(differences(*pair)) <= 1e-12


@pytest.mark.parametrize(
    "objective",
    [
        SmoothedLabels(0.1),
        Plain(lambda outputs, targets: mse_loss(outputs[:, 0], targets.to(outputs.dtype))),
        Distillation(SmoothedLabels(0.1), seeded(mlp, 7).double(), 2.0, 0.5),
    ],
    ids=["smoothed", "own", "distilled"],
)
def test_objectives(objective: Objective):
    pair = both(mlp, (2, 6, 6), Update(objective, Sgd()), torch.float64)
    step_both_(pair, range(5), (2, 6, 6), 4, torch.float64, 1e-12)
    assert max(differences(*pair)) <= 1e-12


def test_a_distilling_group_that_reads_the_same_images():
    rule = Update(Distillation(Plain(cross_entropy), seeded(mlp, 7).double()), Sgd())
    pair = both(mlp, (2, 6, 6), rule, torch.float64)
    losses = [one.step_([batch_of((2, 6, 6), 4, 0, torch.float64)] * 3, [0.1] * 3, [0] * 3) for one in pair]
    torch.testing.assert_close(*losses, rtol=0, atol=1e-12)
    assert max(differences(*pair)) <= 1e-12


@pytest.mark.parametrize("optimizer", [Sgd(0.9), Adam()])
def test_bits_do_not_depend_on_the_company(optimizer: Optimizer):
    starts, rule, shape = starts_of(mlp784, 16), Update(Plain(cross_entropy), optimizer), (1, 28, 28)
    found = []
    for members in ([1], [4, 1], [0, 1, 2, 3, 4], list(range(16))):
        trainer = FusedTrainer(mlp784(), [starts[m] for m in members], rule, shape)
        own = members.index(1)
        losses = []
        for step in range(4):
            every = batches_at(step, 16, shape, 32)
            lrs = lrs_of(16)
            losses.append(trainer.step_([every[m] for m in members], [lrs[m] for m in members], members)[own])
        found.append(trainer.tensors(own) | {"losses": torch.stack(losses)})
    assert all(same_bits(found[0], other) for other in found[1:])


def test_who_stays_goes_on_as_before_and_the_rest_is_given_back():
    pair = both(lambda: resnet20(num_classes=3), (3, 8, 8), Update(Plain(cross_entropy), Adam()), torch.float64)
    fused = pair[1]
    step_both_(pair, range(2), (3, 8, 8), 4, torch.float64, 1e-12)
    before = fused.rows.weights.untyped_storage().nbytes()
    for one in pair:
        one.keep_([2, 0])
    assert fused.num_members == 2
    step_both_(pair, range(2, 4), (3, 8, 8), 4, torch.float64, 1e-12)
    assert max(differences(*pair)) <= 1e-12
    assert fused.rows.weights.untyped_storage().nbytes() == before * 2 // 3
    fused.keep_([])
    assert fused.num_members == 0


def test_a_start_with_an_optimizer_goes_on_with_it():
    rule, shape = Update(Plain(cross_entropy), Adam()), (1, 28, 28)
    whole, first = (FusedTrainer(mlp784(), starts_of(mlp784, 2), rule, shape) for _ in range(2))
    batches = [batches_at(step, 2, shape, 8) for step in range(4)]
    for step in range(4):
        whole.step_(batches[step], lrs_of(2), [0, 0])
    for step in range(2):
        first.step_(batches[step], lrs_of(2), [0, 0])
    kept = [start.kept for start in starts_of(mlp784, 2)]
    resumed = FusedTrainer(
        mlp784(), [Start(first.tensors(m), kept[m], first.optimizer(m)) for m in (0, 1)], rule, shape
    )
    for step in (2, 3):
        resumed.step_(batches[step], lrs_of(2), [0, 0])
    assert all(same_bits(whole.tensors(m), resumed.tensors(m)) for m in (0, 1))


@pytest.mark.parametrize(
    "make", [mlp, lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 4), nn.Tanh(), nn.Linear(4, 3))]
)
def test_a_spoiled_member_stays_and_the_others_do_not_notice(make):
    rule, shape = Update(Plain(cross_entropy), Adam()), (2, 6, 6)
    pair = both(make, shape, rule, torch.float32)
    undisturbed = both(make, shape, rule, torch.float32)[1]
    for step in range(3):
        batches = batches_at(step, 3, shape, 4)
        undisturbed.step_(batches, [0.01] * 3, [0] * 3)
        if step == 1:
            spoiled = batches[1][0].clone()
            spoiled[0, 0, 3, 3] = math.inf
            batches[1] = (spoiled, batches[1][1])
            before = pair[1].tensors(1)
        losses = [one.step_(batches, [0.01] * 3, [0] * 3) for one in pair]
        assert losses[1].isfinite().tolist() == [True, step != 1, True]
        if step == 1:
            assert same_bits(before, pair[1].tensors(1))
    assert all(same_bits(undisturbed.tensors(m), pair[1].tensors(m)) for m in (0, 2))
    assert [int(pair[1].optimizer(m)["count"][0]) for m in range(3)] == [3, 2, 3]
    assert max(differences(*pair)) <= 1e-6


def test_a_bound_that_overflows_is_not_a_gradient_that_does():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(model[1].weight)
    trainer = FusedTrainer(model, [Start(model.state_dict())], Update(Plain(cross_entropy), Sgd(0.0)), (1, 2, 2))
    images = torch.zeros(4, 1, 2, 2)
    images[0, 0, 0, 0] = 3e19  # its square is infinite in float32, a quarter of it is not
    trainer.step_([(images, torch.zeros(4, dtype=torch.long))], [1.0], [0])
    assert float(trainer.tensors(0)["1.weight"][0, 0]) > 1e18


def test_two_updates_by_hand():
    """Equal logits of two classes: loss ln 2, gradient of -1/2 and 1/2; a mask keeps one of two weights at 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    nn.init.zeros_(model[1].weight)
    only_first = {"1.weight": torch.tensor([[True], [False]])}
    starts = [Start(model.state_dict()), Start(model.state_dict(), only_first)]
    trainer = FusedTrainer(model, starts, Update(Plain(cross_entropy), Sgd(0.0)), (1, 1, 1))
    losses = trainer.step_([(torch.ones(1, 1, 1, 1), torch.zeros(1, dtype=torch.long))] * 2, [0.2, 0.5], [0, 0])
    assert losses.tolist() == pytest.approx([math.log(2)] * 2)
    assert trainer.tensors(0)["1.weight"].flatten().tolist() == pytest.approx([0.1, -0.1])
    assert trainer.tensors(1)["1.weight"].flatten().tolist() == pytest.approx([0.25, 0.0])
    assert not torch.signbit(trainer.tensors(1)["1.weight"]).any()


def test_no_step_changes_nothing_and_the_model_is_not_touched():
    model, starts = resnet20(num_classes=3), starts_of(lambda: resnet20(num_classes=3), 1)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    trainer = FusedTrainer(model, starts, Update(Plain(cross_entropy), Sgd()), (3, 8, 8))
    assert same_bits(trainer.tensors(0), dict(starts[0].tensors))
    trainer.step_([batch_of((3, 8, 8), 4, 0)], [0.1], [0])
    assert same_bits(before, dict(model.state_dict()))


def test_what_is_refused_is_refused_at_the_start():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2))
    with pytest.raises(ModelError, match=r"^fused training: 1 \(Dropout\) drops other units"):
        FusedTrainer(model, [Start(model.state_dict())], Update(Plain(cross_entropy), Sgd()), (1, 2, 2))
