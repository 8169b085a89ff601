import pytest
import torch
from tiny import seeded
from torch import nn

from prunelle.prune.least_squares import Moments, draw_places, groups, input_rows, is_plain, output_rows, solve

pytestmark = pytest.mark.usefixtures("one_thread")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moments(x: torch.Tensor, y: torch.Tensor) -> Moments:
    """x: (rows, k), y: (rows, outputs), one group."""
    found = Moments()
    found.add_(x[:, None], y[:, None])
    return found


LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (3, 6)),
    "linear on tokens": (lambda: nn.Linear(6, 4), (3, 5, 6)),
    "convolution": (lambda: nn.Conv2d(4, 6, 3), (2, 4, 7, 8)),
    "strided, padded, dilated": (lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), (2, 1), (2, 3)), (2, 4, 9, 8)),
    "same padding": (lambda: nn.Conv2d(4, 6, (3, 5), padding="same"), (2, 4, 7, 8)),
    "reflected": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (2, 4, 7, 8)),
    "circular": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (2, 4, 7, 8)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 7, 8)),
    "depthwise, twice": (lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4), (2, 4, 7, 8)),
    "in 1-D": (lambda: nn.Conv1d(4, 6, 3, 2, 1), (2, 4, 9)),
    "in 3-D": (lambda: nn.Conv3d(2, 3, 2, padding=1), (2, 2, 4, 5, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_rows_of_inputs_times_the_weight_are_rows_of_outputs(name):
    make, shape = LAYERS[name]
    layer, x = seeded(make).double(), random(*shape)
    y = layer(x)
    where = draw_places(layer, y, 11, torch.Generator().manual_seed(0))
    kept = torch.arange(len(layer.weight))
    wanted = output_rows(layer, y, where, kept)
    weight = layer.weight.reshape(groups(layer), -1, layer.weight[0].numel())
    found = torch.einsum("rgk,gok->rgo", input_rows(layer, x, where), weight)
    assert wanted.shape == (len(x) * len(where), groups(layer), len(kept) // groups(layer))
    torch.testing.assert_close(found + layer.bias.view(groups(layer), -1), wanted)


def test_places_are_distinct_and_no_more_than_there_are():
    layer = nn.Conv2d(1, 2, 1)
    few, all_ = (draw_places(layer, torch.empty(3, 2, 4, 5), most, torch.Generator()) for most in (7, 99))
    assert len(few.unique()) == 7 and all_.tolist() == list(range(20))
    assert draw_places(nn.Linear(2, 3), torch.empty(8, 3), 7, torch.Generator()).tolist() == [0]


def test_only_kept_outputs_are_wanted():
    y = torch.arange(6.0).reshape(2, 3)
    rows = output_rows(nn.Linear(5, 2), y, torch.tensor([0]), torch.tensor([0, 2]))
    assert rows.tolist() == [[[0.0, 2.0]], [[3.0, 5.0]]]


def test_moments_by_hand():
    found = moments(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0], [-1.0]]))
    assert found.inputs.tolist() == [[[10, 14, 4], [14, 20, 6], [4, 6, 2]]]
    assert found.both.tolist() == [[[-2], [-2], [0]]] and found.outputs.tolist() == [[2]]
    # (1 - (1 + 2 + 1))^2 + (-1 - (3 + 4 + 1))^2
    assert found.error(torch.ones(1, 3, 1, dtype=torch.float64)) == pytest.approx(9 + 81)


def test_moments_add_up_batch_by_batch():
    x, y = random(10, 3), random(10, 2, seed=1)
    whole, parts = moments(x, y), Moments()
    for rows in (slice(0, 4), slice(4, 10)):
        parts.add_(x[rows, None], y[rows, None])
    for name in ("inputs", "both", "outputs"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("constant", [None, torch.zeros(1, 2)], ids=["without constant", "with"])
def test_the_solution_is_numpy_s(constant):
    x, y = random(50, 3) + 1, random(50, 2, seed=1)
    made = moments(x, y)
    found = solve(torch.zeros(1, 2, 3), constant, made, made)
    table = x if constant is None else torch.cat([x, torch.ones(50, 1)], 1)
    wanted = torch.linalg.lstsq(table, y).solution
    assert found is not None and found.error < found.error_before
    torch.testing.assert_close(found.weight, wanted[:3].T, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        found.constant, torch.zeros(2) if constant is None else wanted[3], atol=1e-5, rtol=0, check_dtype=False
    )
    assert found.error == pytest.approx(float((table @ wanted - y).square().sum()), rel=1e-6)


def test_each_group_is_solved_alone():
    x, y = random(40, 2, 3), random(40, 2, 1, seed=1)
    both = Moments()
    both.add_(x, y)
    found = solve(torch.zeros(2, 1, 3), None, both, both)
    assert found is not None
    for group in (0, 1):
        made = moments(x[:, group], y[:, group])
        alone = solve(torch.zeros(1, 1, 3), None, made, made)
        assert alone is not None
        torch.testing.assert_close(found.weight[group], alone.weight[0])


def test_inputs_that_never_vary_leave_their_weight():
    x = random(30, 3)
    x[:, 1] = 0
    made = moments(x, random(30, 1, seed=1))
    found = solve(torch.full((1, 1, 3), 7.0), torch.zeros(1, 1), made, made)
    assert found is not None and found.weight[0, 1] == 7


def test_what_is_right_already_stays():
    x, weight = random(30, 3), random(1, 2, 3, seed=1)
    made = moments(x, x @ weight[0].T)
    assert solve(weight, None, made, made) is None


def test_a_solution_that_is_worse_on_other_rows_is_not_taken():
    made = moments(random(4, 3), random(4, 1, seed=1))
    x = random(200, 3, seed=2)
    judge = moments(x, x @ torch.ones(3, 1, dtype=torch.float64))
    assert solve(torch.ones(1, 1, 3), None, made, judge) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nothing_comes_of_rows_that_are_not_finite(bad):
    x = random(30, 3)
    x[3, 1] = bad
    made, judge = moments(x, random(30, 1)), moments(random(30, 3), random(30, 1))
    assert solve(torch.zeros(1, 1, 3), None, made, judge) is None


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def test_which_modules_are_nothing_but_their_weight():
    assert is_plain(nn.Linear(2, 2)) and is_plain(nn.Conv1d(2, 2, 1)) and is_plain(nn.Conv3d(2, 2, 1))
    assert not any(map(is_plain, (nn.ReLU(), nn.LayerNorm(2), nn.ConvTranspose2d(2, 2, 1), Scaled(2, 2))))
    assert not is_plain(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    patched = nn.Linear(2, 2)
    patched.forward = lambda x: x
    assert not is_plain(patched)
