"""Training only the kept weights of convolutions, held against dense training under masks."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prunelle.errors import ShapeError
from prunelle.models.lenet import lenet5, lenet5_small
from prunelle.tickets.sparse_chain import chain_of
from prunelle.tickets.sparse_library import library
from prunelle.tickets.sparse_sizes import sizes_of_chain
from prunelle.tickets.sparse_training import SparseTrainer
from prunelle.tickets.trainer import PlainTrainer, Start
from prunelle.train.losses import Plain
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.step import Update

RULE = Update(Plain(cross_entropy), Sgd(0.9, 1e-3))
SHAPE = (2, 11, 9)


@pytest.fixture(autouse=True)
def same_weights_on_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def net(*convolutions: nn.Module) -> nn.Module:
    """The convolutions and a linear layer to 3 classes that fits behind them."""
    trunk = nn.Sequential(*convolutions, nn.Flatten())
    return nn.Sequential(trunk, nn.Linear(trunk(torch.zeros(1, *SHAPE)).shape[1], 3))


NETS = {
    "one": lambda: net(nn.Conv2d(2, 4, 3), nn.Tanh()),
    "nothing behind it": lambda: net(nn.Conv2d(2, 4, 3, bias=False)),
    "a line of a kernel": lambda: net(nn.Conv2d(2, 3, (1, 4)), nn.LeakyReLU(0.2), nn.Conv2d(3, 4, (5, 1)), nn.Tanh()),
    "pool": lambda: net(nn.Conv2d(2, 4, 2), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.Sigmoid()),
    "pool first": lambda: net(nn.Conv2d(2, 4, 3), nn.MaxPool2d(3), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Tanh()),
    "pool, ceil": lambda: net(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(4, 3, 3)),
    "pool at the end": lambda: net(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d((2, 2))),
}


def masks(model: nn.Module, share: float, seed: int) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(1000 + seed)
    weights = {n: w for n, w in model.named_parameters() if w.ndim > 1}
    return {name: torch.rand(w.shape, generator=draws) < share for name, w in weights.items()}


def batch(shape: tuple[int, int, int], size: int, seed: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    """The first image is black: all of its windows are ties."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.randn(size, *shape, generator=draws)
    images[0] = 0
    return images, torch.randint(classes, (size,), generator=draws)


def difference(model, shares, rule, lr, shape, steps, size, vector_bytes=None) -> float:
    """The largest of any weight from PlainTrainer's."""
    starts = [Start(model.state_dict(), masks(model, share, seed)) for seed, share in enumerate(shares)]
    plain, sparse = (kind(model, starts, rule, shape) for kind in (PlainTrainer, SparseTrainer))
    if vector_bytes:
        sparse.run = library(vector_bytes)
    classes = len(list(model.parameters())[-1])
    for step in range(steps):
        batches = [batch(shape, size, step + 100 * member, classes) for member in range(len(starts))]
        losses = [trainer.step_(batches, [lr] * len(starts), [0] * len(starts)) for trainer in (plain, sparse)]
        torch.testing.assert_close(*losses, rtol=0, atol=1e-5)
    pairs = [(plain.tensors(n), sparse.tensors(n)) for n in range(len(starts))]
    return max(float((a[name] - b[name]).abs().max()) for a, b in pairs for name in a)


def test_a_step_by_hand():
    """The kernel's first weight alone is kept, so the maximum is the largest of 1, 2, 3, 4, and its gradient goes where
    the 4 is: sigmoid(8) times the linear weights' 1 + 1 times 4."""
    model = nn.Sequential(nn.Conv2d(1, 1, 2), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(1, 2, bias=False))
    kernel = torch.tensor([[[[1.0, 5.0], [5.0, 5.0]]]])
    tensors = {"0.weight": kernel, "0.bias": torch.zeros(1), "4.weight": torch.tensor([[1.0], [-1.0]])}
    start = Start(tensors, {"0.weight": kernel == 1})
    trainer = SparseTrainer(model, [start], Update(Plain(cross_entropy), Sgd(0.0)), (1, 3, 3))
    image = torch.tensor([[[[1.0, 2.0, 9.0], [3.0, 4.0, 9.0], [9.0, 9.0, 9.0]]]])
    losses = trainer.step_([(image, torch.tensor([1]))], [0.1], [0])
    share = 1 / (1 + math.exp(-8))
    assert losses.tolist() == pytest.approx([8 + math.log(1 + math.exp(-8))])
    told = trainer.tensors(0)
    torch.testing.assert_close(told["0.weight"], torch.tensor([[[[1 - 0.8 * share, 0.0], [0.0, 0.0]]]]))
    torch.testing.assert_close(told["0.bias"], torch.tensor([-0.2 * share]))
    torch.testing.assert_close(told["4.weight"], torch.tensor([[1 - 0.4 * share], [-1 + 0.4 * share]]))


@pytest.mark.parametrize("name", NETS)
def test_same_weights_as_under_masks(name):
    assert difference(NETS[name](), (0.1, 0.5, 1.0), RULE, 0.05, SHAPE, 20, 33) < 1e-5


@pytest.mark.parametrize("vector_bytes", [16, 32])
def test_narrower_vectors(vector_bytes):
    rule = Update(Plain(cross_entropy), Adam())
    assert difference(NETS["pool"](), (0.3, 1.0), rule, 1e-2, SHAPE, 10, 50, vector_bytes) < 1e-5


@pytest.mark.parametrize("size", [1, 16, 17, 130])
def test_any_number_of_images(size):
    assert difference(NETS["pool"](), (0.5,), RULE, 0.05, SHAPE, 3, size) < 1e-5


@pytest.mark.parametrize("build", [lenet5, lenet5_small])
def test_lenets(build):
    """By SGD: Adam makes much of gradients that are rounding alone, and PyTorch's own float32 is then as far off."""
    model = build(input_shape=(1, 16, 16))
    assert difference(model, (0.036, 0.2), RULE, 0.05, (1, 16, 16), 100, 20) < 1e-5


def test_channels_that_nothing_reads():
    """They are not computed; weight decay moves them all the same."""
    model = NETS["pool"]()
    kept = masks(model, 1.0, 0)
    kept["0.3.weight"][:, 1] = False
    kept["1.weight"][:, : kept["1.weight"].shape[1] // 5] = False
    starts = [Start(model.state_dict(), kept)]
    plain, sparse = (kind(model, starts, RULE, SHAPE) for kind in (PlainTrainer, SparseTrainer))
    for step in range(5):
        for trainer in (plain, sparse):
            trainer.step_([batch(SHAPE, 20, step)], [0.05], [0])
    assert len(sparse.members[0].lists[0].tables["rows"]) == 3
    torch.testing.assert_close(sparse.tensors(0), plain.tensors(0), rtol=0, atol=1e-6)


def test_nan_is_larger_than_all():
    model = NETS["pool first"]()
    trainer = SparseTrainer(model, [Start(model.state_dict())], RULE, SHAPE)
    images, labels = batch(SHAPE, 20, 0)
    images[5, 0, 4, 4] = math.nan
    assert trainer.step_([(images, labels)], [0.1], [0]).isnan().all()
    assert all(torch.equal(w, trainer.tensors(0)[name]) for name, w in model.state_dict().items())


def test_images_that_do_not_fit():
    model = lenet5_small()
    sizes = sizes_of_chain(chain_of(model), (1, 28, 28))
    assert [size.outputs for size in sizes] == [6 * 13 * 13, 6 * 6 * 6, 128, 10]
    with pytest.raises(
        ShapeError, match=r"conv1.weight: reads 1 numbers or channels, an image of \(3, 28, 28\) gives 3"
    ):
        sizes_of_chain(chain_of(model), (3, 28, 28))
    with pytest.raises(
        ShapeError, match=r"fc1.weight: reads 216 .* gives 96; pass the shape that the network was made"
    ):
        sizes_of_chain(chain_of(model), (1, 20, 20))
    with pytest.raises(
        ShapeError, match=r"conv2.weight: nothing is left of an image of \(1, 4, 4\) there; pass a larger"
    ):
        sizes_of_chain(chain_of(model), (1, 4, 4))
