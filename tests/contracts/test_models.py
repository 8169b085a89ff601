"""Every named model keeps one contract; a builder that is not in the table turns this suite red."""

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module

import pytest
import torch
from torch import nn

import prunelle.models
from prunelle.errors import SettingError, ShapeError
from prunelle.models.load import build
from prunelle.models.names import TABLE

SMALLEST = {"lenet5": 16, "lenet5_small": 8, "alexnet_cifar": 15, "vgg16_bn_cifar": 32, "vgg19_bn_cifar": 32}
"""Least height and width; 1 for the others."""


def small(name: str) -> tuple[int, int, int]:
    """A shape that the model takes and that keeps the suite to seconds."""
    channels, height, _ = TABLE[name].input_shape
    side = max(SMALLEST.get(name, 1), 32 if height > 32 else 16)
    return channels, side, side


def builders() -> dict[str, Callable[..., nn.Module]]:
    """Public functions of the room that take input_shape and num_classes and need nothing."""
    found: dict[str, Callable[..., nn.Module]] = {}
    for info in pkgutil.iter_modules(prunelle.models.__path__):
        module = import_module(f"prunelle.models.{info.name}")
        for name, value in vars(module).items():
            if not inspect.isfunction(value) or value.__module__ != module.__name__ or name.startswith("_"):
                continue
            parameters = inspect.signature(value).parameters
            optional = all(parameter.default is not inspect.Parameter.empty for parameter in parameters.values())
            if optional and {"input_shape", "num_classes"} <= set(parameters):
                found[f"{module.__name__}:{name}"] = value
    return found


def test_every_builder_is_in_the_table():
    assert set(builders()) == {row.builder for row in TABLE.values()}
    assert all(row.builder.endswith(f":{name}") for name, row in TABLE.items())


@pytest.mark.parametrize("name", TABLE)
def test_table_and_builder_have_the_same_defaults(name):
    parameters = inspect.signature(builders()[TABLE[name].builder]).parameters
    assert parameters["input_shape"].default == TABLE[name].input_shape
    assert parameters["num_classes"].default == TABLE[name].num_classes


@pytest.mark.parametrize("name", TABLE)
def test_forward_backward_and_parameters(name):
    shape = small(name)
    model = build(name, input_shape=shape, num_classes=7)
    assert model.training
    assert sum(parameter.numel() for parameter in model.parameters()) > 0
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    for batch in (2, 3):
        assert model(torch.randn(batch, *shape)).shape == (batch, 7)
    nn.functional.cross_entropy(model(torch.randn(2, *shape)), torch.tensor([0, 6])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", TABLE)
def test_one_seed_gives_one_model_and_eval_is_deterministic(name):
    shape = small(name)
    first, second = (_seeded(name, shape) for _ in range(2))
    x = torch.randn(1, *shape)
    assert torch.equal(first(x), second(x))


def _seeded(name, shape):
    torch.manual_seed(3)
    return build(name, input_shape=shape).eval()


@pytest.mark.parametrize("name", TABLE)
def test_a_shape_that_cannot_fit_is_refused_in_one_sentence(name):
    with pytest.raises(ShapeError, match=rf"^{name}: input shape is \(3, 32\), must be \(C, H, W\)"):
        build(name, input_shape=(3, 32))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"must be \(C, H, W\), three whole numbers of at least 1"):
        build(name, input_shape=(0, 32, 32))
    with pytest.raises(SettingError, match="num_classes is 0, must be a whole number of at least 1"):
        build(name, num_classes=0)


@pytest.mark.parametrize("name", TABLE)
def test_the_smallest_image_works_and_one_pixel_less_is_refused(name):
    side = SMALLEST.get(name, 1)
    channels = 2
    assert build(name, input_shape=(channels, side, side + 1)).eval()(torch.zeros(1, channels, side, side + 1)).shape
    if side > 1:
        with pytest.raises(ShapeError, match=f"height and width must be at least {side}; pass larger images"):
            build(name, input_shape=(channels, side, side - 1))
