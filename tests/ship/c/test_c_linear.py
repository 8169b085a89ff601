from dataclasses import dataclass

import numpy as np
import pytest
import torch
from many_networks import Case, errors, network, outputs, plan_of
from torch import Tensor, nn

from prunelle.ship.c.layout import layout_of
from prunelle.ship.c.linear import as_columns, as_lists, forms
from prunelle.ship.c.linear_rows import as_rows
from prunelle.ship.c.ops import Activate, Flatten, Linear, Load, Maps, Program, Vector
from prunelle.ship.c.writer import FP32


@dataclass(frozen=True)
class Matrix:
    """relu(weight x + bias), then the same again without relu, so that the second one's inputs hold zeros."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x), self.bias.to(x)
        return torch.relu(x.flatten(1) @ weight.T + bias) @ weight[:, : len(weight)].T + bias

    def program(self, lanes: int) -> Program:
        count, inputs = self.weight.shape
        x, first, middle, last = Maps(1, 1, layout_of(1, inputs, lanes)), Vector(inputs), Vector(count), Vector(count)
        weight, bias = self.weight.double().numpy(), self.bias.double().numpy()
        ops = [
            Load("", x), Flatten("", [1], first), Linear("", first, weight, bias, middle, [Activate("relu")]),
            Linear("", middle, weight[:, :count], bias, last),
        ]  # fmt: skip
        return Program(ops, [x], last, (1, 1, inputs), (count,))


def drawn(seed: int) -> Case:
    draws = torch.Generator().manual_seed(seed)
    count = (1, 2, 3, 7, 10, 16, 17, 33, 100, 130, 300)[seed % 11]
    inputs = count + (0, 1, 5, 300)[seed % 4]
    weight = torch.randn(count, inputs, generator=draws)
    weight *= torch.rand(weight.shape, generator=draws) < (0.0, 0.1, 0.3, 1.0)[seed // 4 % 4]
    image = torch.randn(1, 1, 1, inputs, generator=draws)
    image *= torch.rand(image.shape, generator=draws) < 0.5
    made = Matrix(weight, torch.randn(count, generator=draws))
    return Case(made.program, made, image)


@pytest.mark.parametrize("vector_bytes", (64, 32, 16))
@pytest.mark.parametrize("form", (0, 1, 2))
def test_any_matrix_in_any_form_is_what_pytorch_computes(vector_bytes: int, form: int) -> None:
    cases = [drawn(seed) for seed in range(form, 44, 2)]
    for case, error in zip(cases, errors(cases, vector_bytes, lambda index: form), strict=True):
        assert error <= 2e-6, f"{tuple(case.reference.weight.shape)} is off by {error}"


WEIGHT = np.array([[0.0, 2.0, 0.0], [3.0, 4.0, 0.0]])


def test_rows_leave_out_inputs_without_weights_by_hand() -> None:
    counts, places, rows = as_rows(WEIGHT, 4)
    assert (counts, places, rows.tolist()) == ([2], [0, 1] + 14 * [-1], [0, 3, 0, 0, 2, 4, 0, 0])


def test_columns_and_lists_hold_only_weights_by_hand() -> None:
    counts, places, weights = as_columns(WEIGHT, 4)
    assert (counts, places, weights.tolist()) == ([1, 2, 0], [1, 0, 1], [3, 2, 4])
    counts, places, weights = as_lists(WEIGHT, 4)
    assert (counts, places, weights.tolist()) == ([1, 2], [1, 0, 1], [2, 3, 4])


def test_a_large_sparse_layer_has_no_dense_rows() -> None:
    sparse = np.zeros((4096, 2048))
    sparse[0] = 1
    op = Linear("", Vector(2048), sparse, np.zeros(4096), Vector(4096))
    assert "rows" not in forms(op, FP32)
    op.weight = np.ones((4, 4))
    assert forms(op, FP32) == ("rows",)


def test_softmax_by_hand_and_of_many() -> None:
    """e^0 : e^ln 3 is 1 : 3; a thousand equal numbers get a thousandth each; large ones do not overflow."""
    x = torch.tensor([0.0, float(np.log(3))]).view(1, 2, 1, 1)
    flat = nn.Sequential(nn.Flatten(), nn.Softmax(1))
    logarithm = nn.Sequential(nn.Flatten(), nn.LogSoftmax(1))
    many = torch.full((1, 1000, 1, 1), 500.0)
    found = outputs([network(flat, x), network(flat, many), network(logarithm, x)])
    assert torch.allclose(found[0], torch.tensor([0.25, 0.75]), atol=1e-7)
    assert torch.allclose(found[1], torch.full((1000,), 0.001), rtol=1e-5)
    assert torch.allclose(found[2], torch.tensor([0.25, 0.75]).log(), atol=1e-6)
    wide = 40 * torch.randn(1, 37, 1, 1, generator=torch.Generator().manual_seed(0))
    assert max(errors([network(flat, wide), network(logarithm, wide)])) <= 1e-6


def test_layers_whose_weights_are_one_change_nothing() -> None:
    layer = nn.Linear(5, 5, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(5))
    x = torch.randn(1, 5, 1, 1)
    case = network(nn.Sequential(nn.Flatten(), layer), x)
    assert plan_of(case, 64).variants(len(plan_of(case, 64).ops) - 1)
    assert all(torch.equal(outputs([case], 64, lambda i, n=n: n)[0], x.flatten()) for n in range(3))
