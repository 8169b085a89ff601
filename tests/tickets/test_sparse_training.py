"""Training only the kept weights, held against dense training under masks."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prunelle.errors import DataError, ModelError, ShapeError, WeightsError
from prunelle.models.lenet import lenet_300_100
from prunelle.ship.compiler import target_of
from prunelle.tickets.sparse_library import library
from prunelle.tickets.sparse_training import SparseTrainer
from prunelle.tickets.trainer import PlainTrainer, Start
from prunelle.train.losses import Plain, SmoothedLabels
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.step import Update

SHAPE = (1, 4, 5)
CROSS_ENTROPY = Plain(cross_entropy)
OPTIMIZERS = {
    "sgd": (Sgd(0.9), 0.05),
    "sgd, decay": (Sgd(0.9, 5e-4), 0.05),
    "sgd, nesterov": (Sgd(0.9, 1e-3, nesterov=True), 0.05),
    "sgd, no momentum": (Sgd(0.0), 0.1),
    "adam": (Adam(), 1.2e-3),
    "adam, decay": (Adam((0.8, 0.99), 1e-6, 1e-2), 1e-3),
    "adamw": (Adam(weight_decay=0.1, decoupled=True), 1e-3),
}


@pytest.fixture(autouse=True)
def same_weights_on_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def small(*activations: nn.Module) -> nn.Module:
    """20 -> 9 -> 7 -> 3, its second layer without a bias."""
    first, second = activations or (nn.ReLU(), nn.ReLU())
    hidden = nn.Sequential(nn.Linear(20, 9), first, nn.Linear(9, 7, bias=False), second)
    return nn.Sequential(nn.Flatten(), hidden, nn.Identity(), nn.Linear(7, 3))


def masks(model: nn.Module, share: float, seed: int) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(1000 + seed)
    weights = {n: w for n, w in model.named_parameters() if w.ndim == 2}
    return {name: torch.rand(w.shape, generator=draws) < share for name, w in weights.items()}


def batch(shape: tuple[int, int, int], size: int, seed: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(size, *shape, generator=draws), torch.randint(classes, (size,), generator=draws)


def starts_of(model: nn.Module, shares: tuple[float, ...]) -> list[Start]:
    return [Start(model.state_dict(), masks(model, share, seed)) for seed, share in enumerate(shares)]


def farthest(plain: PlainTrainer, sparse: SparseTrainer) -> float:
    """The largest difference of any weight, and of what the optimizer keeps for the kept ones."""
    worst = 0.0
    for member in range(plain.num_members):
        kept = plain.members[member].kept
        names = list(plain.members[member].state.weights)
        mine, theirs = sparse.tensors(member), plain.tensors(member)
        assert list(mine) == list(theirs)
        worst = max(worst, *(float((mine[n] - theirs[n]).abs().max()) for n in names))
        assert all(not mine[n][~mask].any() and not mine[n][~mask].signbit().any() for n, mask in kept.items())
        ours, state = sparse.optimizer(member), plain.optimizer(member)
        assert list(ours) == list(state)
        for quantity in state:
            for name, a, b in zip(names, ours[quantity], state[quantity], strict=True):
                assert a.shape == b.shape
                difference = (a - b).abs() * kept[name] if quantity != "count" and name in kept else (a - b).abs()
                worst = max(worst, float(difference.max()))
    return worst


def trained(model, starts, rule, lr, shape, steps, size, trainers=(PlainTrainer, SparseTrainer)):
    made = [kind(model, starts, rule, shape) for kind in trainers]
    classes = len(list(model.parameters())[-1])
    for step in range(steps):
        batches = [batch(shape, size, step, classes)] * len(starts)
        lrs = [lr / (1 + member) for member in range(len(starts))]
        losses = [trainer.step_(batches, lrs, [0] * len(starts)) for trainer in made]
        torch.testing.assert_close(*losses, rtol=0, atol=1e-5)
    return made


def test_a_step_by_hand():
    """Outputs 0 and 0, so the gradient is (-1/2, 1/2) times the image (1, 2); only the diagonal is kept."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    start = Start({"1.weight": torch.zeros(2, 2), "1.bias": torch.zeros(2)}, {"1.weight": torch.eye(2) > 0})
    trainer = SparseTrainer(model, [start], Update(CROSS_ENTROPY, Sgd(0.5)), (1, 1, 2))
    images, labels = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([0])
    losses = trainer.step_([(images, labels)], [0.1], [0])
    assert losses.tolist() == pytest.approx([math.log(2)], abs=1e-6)
    told = trainer.tensors(0)
    torch.testing.assert_close(told["1.weight"], torch.tensor([[0.05, 0.0], [0.0, -0.1]]))
    torch.testing.assert_close(told["1.bias"], torch.tensor([0.05, -0.05]))
    torch.testing.assert_close(trainer.optimizer(0)["momentum"][0], torch.tensor([[-0.5, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_same_weights_as_under_masks(name):
    optimizer, lr = OPTIMIZERS[name]
    rule = Update(CROSS_ENTROPY, optimizer)
    model = lenet_300_100(input_shape=(1, 7, 9))
    plain, sparse = trained(model, starts_of(model, (0.012, 0.036)), rule, lr, (1, 7, 9), 100, 128)
    assert farthest(plain, sparse) < 1e-5
    # Dense ones in a small network: where a ReLU's input is within rounding of 0, the order of a sum decides.
    model = small()
    plain, sparse = trained(model, starts_of(model, (0.3, 1.0)), rule, lr, SHAPE, 100, 50)
    assert farthest(plain, sparse) < 1e-5


def test_inputs_in_chunks():
    """Many kept weights are taken chunk by chunk; the last chunk has two inputs."""
    width = 50 if target_of("native").vector_bytes == 64 else 200
    model = nn.Sequential(nn.Flatten(), nn.Linear(width, 20), nn.Tanh(), nn.Linear(20, 3))
    starts = starts_of(model, (0.05, 0.5, 1.0))
    plain, sparse = trained(model, starts, Update(CROSS_ENTROPY, Adam()), 1e-2, (1, 1, width), 30, 40)
    assert [member.lists[0].chunks > 1 for member in sparse.members] == [False, True, True]
    assert farthest(plain, sparse) < 1e-5


@pytest.mark.parametrize("size", [1, 15, 16, 17, 100, 300])
def test_any_number_of_images(size):
    model = small()
    plain, sparse = trained(model, starts_of(model, (0.5,)), Update(CROSS_ENTROPY, Adam()), 1e-2, SHAPE, 5, size)
    assert farthest(plain, sparse) < 1e-5


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.1), nn.Tanh(), nn.Sigmoid(), nn.Identity()], ids=str)
def test_activations(activation):
    model = small(activation, activation)
    plain, sparse = trained(model, starts_of(model, (0.5, 1.0)), Update(CROSS_ENTROPY, Sgd()), 0.1, SHAPE, 30, 33)
    assert farthest(plain, sparse) < 1e-5


@pytest.mark.parametrize("vector_bytes", [16, 32])
def test_narrower_vectors(vector_bytes):
    model = small()
    rule = Update(SmoothedLabels(0.1), Adam())
    plain, sparse = (kind(model, starts_of(model, (0.5, 0.9)), rule, SHAPE) for kind in (PlainTrainer, SparseTrainer))
    sparse.run = library(vector_bytes)
    for step in range(10):
        batches = [batch(SHAPE, 100, step), batch(SHAPE, 100, 50 + step)]
        losses = [trainer.step_(batches, [1e-2, 1e-3], [0, 0]) for trainer in (plain, sparse)]
        torch.testing.assert_close(*losses, rtol=0, atol=1e-6)
    assert farthest(plain, sparse) < 1e-5


def test_goes_on_from_an_optimizer_state():
    model = small()
    rule = Update(SmoothedLabels(0.1), Adam())
    dense = PlainTrainer(model, [Start(model.state_dict())], rule, SHAPE)
    for step in range(5):
        dense.step_([batch(SHAPE, 20, step)], [1e-2], [0])
    start = Start(dense.tensors(0), masks(model, 0.4, 0), dense.optimizer(0))
    plain, sparse = trained(model, [start], rule, 1e-2, SHAPE, 20, 20)
    assert farthest(plain, sparse) < 1e-5
    assert sparse.optimizer(0)["count"][0] == 25


def test_what_comes_out_goes_in_again():
    """Stopping and going on changes no bit."""
    model = small()
    rule = Update(CROSS_ENTROPY, Adam(weight_decay=0.01))
    begun = starts_of(model, (0.5,))
    through = SparseTrainer(model, begun, rule, SHAPE)
    part = SparseTrainer(model, begun, rule, SHAPE)
    for step in range(6):
        if step == 3:
            part = SparseTrainer(model, [Start(part.tensors(0), begun[0].kept, part.optimizer(0))], rule, SHAPE)
        for trainer in (through, part):
            trainer.step_([batch(SHAPE, 20, step)], [1e-2], [0])
    assert all(torch.equal(a, b) for a, b in zip(through.tensors(0).values(), part.tensors(0).values(), strict=True))


def test_units_that_nothing_reads_still_decay():
    """Their gradient is 0 and is not computed; weight decay and momentum move them all the same."""
    model = small()
    kept = {"1.2.weight": torch.zeros(7, 9, dtype=torch.bool), "3.weight": torch.ones(3, 7) > 0}
    kept["1.2.weight"][2, 3:5] = True
    kept["3.weight"][:, 2:] = False
    rule = Update(CROSS_ENTROPY, Sgd(0.9, 0.1))
    plain, sparse = trained(model, [Start(model.state_dict(), kept)], rule, 0.05, SHAPE, 10, 20)
    assert farthest(plain, sparse) < 1e-6
    assert not torch.equal(sparse.tensors(0)["1.0.weight"], model.state_dict()["1.0.weight"])


def test_nothing_moves_at_a_learning_rate_of_0_and_without_weights():
    model = small()
    none = {n: torch.zeros_like(w, dtype=torch.bool) for n, w in model.named_parameters() if w.ndim == 2}
    starts = [Start(model.state_dict()), Start(model.state_dict(), none)]
    trainer = SparseTrainer(model, starts, Update(CROSS_ENTROPY, Adam()), SHAPE)
    trainer.step_([batch(SHAPE, 20, 0)] * 2, [0.0, 0.1], [0, 0])
    assert all(torch.equal(w, trainer.tensors(0)[name]) for name, w in model.state_dict().items())
    assert not any(trainer.tensors(1)[name].any() for name in none)
    assert trainer.tensors(1)["3.bias"].ne(model.state_dict()["3.bias"]).all()


def test_a_members_bits_do_not_depend_on_the_others():
    model = small()
    rule = Update(CROSS_ENTROPY, Sgd(0.9, 1e-3))
    starts = starts_of(model, (0.2, 0.5, 1.0))
    alone = SparseTrainer(model, starts[1:2], rule, SHAPE)
    among = SparseTrainer(model, starts, rule, SHAPE)
    for step in range(10):
        own, other = batch(SHAPE, 20, step), batch(SHAPE, 20, 100 + step)
        losses = among.step_([other, own, own], [0.1, 0.05, 0.02], [0] * 3)
        assert alone.step_([own], [0.05], [0])[0] == losses[1]
        if step == 5:
            among.keep_([2, 1, 0])
            among.keep_([2, 1, 0])
    assert all(torch.equal(a, among.tensors(1)[n]) for n, a in alone.tensors(0).items())


def test_keeping_some_in_another_order():
    model = small()
    rule = Update(CROSS_ENTROPY, Adam())
    plain, sparse = trained(model, starts_of(model, (0.2, 0.5, 1.0)), rule, 1e-2, SHAPE, 3, 20)
    for trainer in (plain, sparse):
        trainer.keep_([2, 0])
    assert sparse.num_members == 2
    for step in range(3):
        batches = [batch(SHAPE, 20, 9 + step)] * 2
        losses = [trainer.step_(batches, [1e-2, 1e-3], [0, 0]) for trainer in (plain, sparse)]
        torch.testing.assert_close(*losses, rtol=0, atol=1e-6)
    assert farthest(plain, sparse) < 1e-5
    sparse.keep_([])
    assert sparse.num_members == 0


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_spoils_its_own_member(wrong):
    model = small()
    trainer = SparseTrainer(model, starts_of(model, (0.5, 0.5)), Update(CROSS_ENTROPY, Adam()), SHAPE)
    good, bad = batch(SHAPE, 20, 0), batch(SHAPE, 20, 1)
    bad[0][3] = wrong
    before = [trainer.tensors(member) for member in (0, 1)]
    losses = trainer.step_([bad, good], [1e-2, 1e-2], [0, 0])
    assert not losses[0].isfinite() and losses[1].isfinite()
    assert all(torch.equal(w, trainer.tensors(0)[name]) for name, w in before[0].items())
    assert trainer.optimizer(0)["count"][0] == 0
    assert trainer.tensors(1)["3.bias"].ne(before[1]["3.bias"]).all()


def test_huge_outputs_give_the_loss_that_pytorch_gives():
    model = small()
    start = Start({name: 1e4 * w for name, w in model.state_dict().items()})
    rule = Update(CROSS_ENTROPY, Sgd())
    plain, sparse = (kind(model, [start], rule, SHAPE) for kind in (PlainTrainer, SparseTrainer))
    losses = [trainer.step_([batch(SHAPE, 20, 0)], [0.0], [0]) for trainer in (plain, sparse)]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=0)


def made(**changes: object) -> SparseTrainer:
    model = small()
    given = {"model": model, "starts": [Start(model.state_dict())], "rule": Update(CROSS_ENTROPY, Sgd())}
    return SparseTrainer(**{**given, "input_shape": SHAPE, **changes})


def test_refusals():
    images, labels = batch(SHAPE, 4, 0)
    cases = [
        (images[:, :, :2], labels, ShapeError, r"images are \(4, 1, 2, 5\) .* must be \(4, 1, 4, 5\) torch.float32"),
        (images.double(), labels, ShapeError, r"torch.float64 on cpu, must be \(4, 1, 4, 5\) torch.float32 on cpu"),
        (images, labels[:3], ShapeError, r"labels are \(3,\) torch.int64 on cpu, must be \(4,\) torch.int64"),
        (images, labels * 0 + 3, DataError, r"labels of member 0: lie in 3..3, must in 0..2;"),
        (images, labels * 0 - 100, DataError, r"lie in -100..-100, must in 0..2; build the network for"),
    ]
    for x, y, error, text in cases:
        with pytest.raises(error, match=text):
            made().step_([(x, y)], [0.1], [0])
    with pytest.raises(
        ShapeError, match=r"1.0.weight: reads 20 numbers or channels, an image of \(3, 4, 5\) gives 60;"
    ):
        made(input_shape=(3, 4, 5))
    with pytest.raises(ModelError, match="does not end in a linear layer"):
        made(model=nn.Sequential(nn.Flatten()))
    start = Start(small().state_dict(), {"3.bias": torch.ones(3) > 0})
    with pytest.raises(WeightsError, match=r"3.bias: its mask is \(3,\) torch.bool, must be torch.bool of one of"):
        made(starts=[start])
    with pytest.raises(WeightsError, match=r"3.weight: its mask is \(3, 7\) torch.float32, must be torch.bool"):
        made(starts=[replace(start, kept={"3.weight": torch.ones(3, 7)})])
