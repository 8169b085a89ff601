import numpy as np
import pytest
import torch
from many_networks import Case, errors, network, outputs, plan_of
from torch import nn

from prunelle.errors import ModelError, SettingError
from prunelle.ship.c.fixed_point import MOST, ROOM, Rescale, fraction
from prunelle.ship.c.taps import TapConv
from prunelle.ship.c_plan import plan_c


def layered(seed: int, head: bool = True) -> Case:
    """Convolutions of all kinds, a link, pooling and a linear layer, with the images they are fitted to."""
    torch.manual_seed(seed)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
            self.deep, self.down = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 5, 3, 2, 1)
            self.last = nn.Linear(5, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.norm(self.first(x)))
            x = torch.relu(nn.functional.max_pool2d(x, 3, 1, 1) + self.deep(x))
            x = nn.functional.avg_pool2d(nn.functional.relu6(self.down(x)), 2)
            return self.last(x.mean((2, 3))) if head else x

    images = torch.randn(32, 2, 10 + seed, 17, generator=torch.Generator().manual_seed(seed))
    return network(Net(), images[:1], images)


@pytest.mark.parametrize("vector_bytes", (64, 32, 16))
def test_sixteen_bits_are_near_the_network(vector_bytes: int) -> None:
    found = errors([layered(seed) for seed in range(4)], vector_bytes, lambda index: index)
    assert 0 < max(found) <= 3e-3


def test_all_widths_and_variants_give_the_same_bits() -> None:
    """Sums of integers do not depend on their order, so neither do the results."""
    case = layered(1, head=False)
    first = outputs([case], 64)[0]
    for vector_bytes, variant in ((64, 1), (32, 0), (16, 2)):
        assert torch.equal(outputs([case], vector_bytes, lambda index, v=variant: v)[0], first)


def test_one_convolution_is_the_integers_of_numpy() -> None:
    """The same roundings written out: (pixel * weight + 2^14) >> 15, summed, with the bias, shifted."""
    torch.manual_seed(0)
    images = torch.randn(8, 3, 6, 6)
    case = network(nn.Conv2d(3, 2, 1), images[:1], images)
    plan = plan_of(case, 64)
    conv = next(op for op in plan.ops if isinstance(op, TapConv))
    assert plan.scales is not None
    unit = plan.scales.of(1)
    pixels = np.clip(
        np.trunc(images[0].numpy() / np.float32(unit) + np.where(images[0].numpy() < 0, -0.5, 0.5)), -MOST, MOST
    )
    expected = np.zeros((2, 6, 6))
    for (out, _, channel, _), weight in zip(conv.taps, conv.weights, strict=True):
        expected[out] += (pixels[channel - 1].astype(np.int64) * int(weight) + (1 << 14)) >> 15
    rescale = conv.steps[0]
    assert isinstance(rescale, Rescale)
    for out in range(2):
        whole = (expected[out] + conv.bias[out]) * 2.0 ** rescale.shifts[out]
        expected[out] = whole * plan.scales.of(conv.out.first + out)
    assert np.abs(outputs([case])[0].numpy() - expected).max() <= 1.01 * plan.scales.of(conv.out.first)


def test_units_leave_room_for_a_quarter_more_by_hand() -> None:
    images = torch.tensor([4.0, -8.0]).view(2, 1, 1, 1).expand(2, 1, 3, 3)
    plan = plan_of(network(nn.Conv2d(1, 1, 1), images[:1], images), 64)
    assert plan.scales is not None and plan.scales.of(1) == pytest.approx(8 * ROOM / MOST)


def test_a_sum_can_never_overflow() -> None:
    """The largest pixels, each with the sign of its weight, stay within 16 bits in the unit of the sum."""
    conv = next(op for op in plan_of(layered(0), 64).ops if isinstance(op, TapConv))
    for out in range(conv.out.count):
        worst = np.abs(conv.weights[conv.taps[:, 0] == out]).sum() + abs(conv.bias[out])
        assert worst <= 32767


def test_fractions_by_hand() -> None:
    assert fraction(np.array([0.0, 0.5, 1.0, 2.0])).tolist() == [0, 16384, 32768, 32768]


def test_a_mean_of_single_pixels_keeps_the_sign() -> None:
    images = torch.randn(8, 1, 4, 4)
    case = network(nn.Sequential(nn.Conv2d(1, 1, 1), nn.AvgPool2d(1, 2)), images[:1], images)
    assert errors([case])[0] <= 1e-3


def test_an_activation_without_integers_is_refused_by_name() -> None:
    images = torch.randn(2, 1, 4, 4)
    case = network(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Hardswish()), images[:1], images)
    with pytest.raises(ModelError, match="int16 has no hardswish; take fp32"):
        plan_of(case, 64)


def test_int16_without_images_and_unknown_words_are_refused() -> None:
    net, x = nn.Conv2d(1, 1, 1), torch.randn(1, 1, 4, 4)
    with pytest.raises(SettingError, match="int16 is fitted to images; pass calibration images"):
        plan_c(net, x, 64, 24, "int16")
    with pytest.raises(SettingError, match="there is no precision 'int4', the words are fp32 and int16"):
        plan_c(net, x, 64, 24, "int4")
