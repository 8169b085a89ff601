import numpy as np

from prunelle.ship.c.layout import layout_of
from prunelle.ship.c.ops import Conv, Maps, Program, Vector
from prunelle.ship.c.taps import Copied, Expand, Placed, TapConv, Windows, place_taps


def placed(weight: np.ndarray, stride: int, pad: int, groups: int = 1, size: int = 8) -> list[Placed]:
    """A convolution of (size, size) maps, its channels 1, 2, ..."""
    inputs, length = weight.shape[1] * groups, (size + 2 * pad - weight.shape[2]) // stride + 1
    x, y = Maps(1, inputs, layout_of(size, size, 16)), Maps(50, len(weight), layout_of(length, length, 16))
    channels, options = list(range(1, inputs + 1)), ((stride, stride), (pad, pad), (1, 1), groups)
    conv = Conv("", channels, weight, np.zeros(len(weight)), *options, y)
    program = Program([conv], [x, y], Vector(1), (inputs, size, size), (1,))
    return place_taps(program, set(range(50, 50 + len(weight))), 24, windows=True)


def test_one_weight_is_one_tap_by_hand() -> None:
    """Above and right of the middle, in the second channel: column 2 of those from -1 on, a row up."""
    weight = np.zeros((1, 2, 3, 3))
    weight[0, 1, 0, 2] = 5.0
    (conv,) = placed(weight, 1, 1)
    assert isinstance(conv, TapConv)
    assert conv.taps.tolist() == [[0, 2, 2, -1]] and conv.weights.tolist() == [5.0]
    assert (conv.first_column, conv.num_columns, conv.channels) == (-1, 3, [2])
    assert (conv.macs, conv.dense_macs) == (64, 18 * 64)


def test_a_stride_copies_each_phase_once() -> None:
    """Kernel places (0, 0) and (2, 0) of stride 2 and pad 1 read one copy, a row apart; (1, 1) reads another."""
    weight = np.zeros((1, 1, 3, 3))
    weight[0, 0, 0, 0], weight[0, 0, 2, 0], weight[0, 0, 1, 1] = 1.0, 2.0, 3.0
    expand, conv = placed(weight, 2, 1)
    assert isinstance(expand, Expand) and isinstance(conv, TapConv)
    assert expand.copies == [Copied(1, 0, 0), Copied(1, 1, -1)]
    first = expand.out.first
    assert conv.taps.tolist() == [[0, 0, first, 0], [0, 0, first + 1, -1], [0, 0, first + 1, 0]]
    assert conv.weights.tolist() == [3.0, 1.0, 2.0]
    assert (expand.out.above, expand.out.below) == (1, 0)


def test_weights_of_zero_leave_nothing() -> None:
    (conv,) = placed(np.zeros((2, 2, 3, 3)), 1, 1)
    assert isinstance(conv, TapConv) and len(conv.taps) == 0 and conv.macs == 0


def test_groups_read_their_own_channels() -> None:
    (conv,) = placed(np.ones((4, 1, 1, 1)), 1, 0, groups=2)
    assert isinstance(conv, TapConv)
    assert conv.taps[:, [0, 2]].tolist() == [[0, 1], [1, 1], [2, 2], [3, 2]]


def test_strided_depthwise_reads_pixels_where_they_lie() -> None:
    (made,) = placed(np.ones((3, 1, 3, 3)), 2, 1, groups=3)
    assert isinstance(made, Windows) and made.x == [1, 2, 3]
    assert made.macs == made.dense_macs == 3 * 9 * 16
