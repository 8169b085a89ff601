import math

import pytest

from prunelle.measure.intervals import interval


def test_an_interval_by_hand() -> None:
    # mean 2, standard deviation 1, t(2) = 4.303: 4.303 / sqrt(3) = 2.4843.
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.4843, 2.0, 2 + 2.4843), abs=1e-4)
    # mean 0.5, standard deviation sqrt(0.5), t(1) = 12.706: 12.706 / 2 = 6.353.
    assert interval([0.0, 1.0]) == pytest.approx((-5.853, 0.5, 6.853), abs=1e-3)
    # 11 values of mean 0 and standard deviation 1, t(10) = 2.228; beyond 31 values t(30) = 2.042 stays.
    assert interval([-math.sqrt(5), math.sqrt(5), *[0.0] * 9])[2] == pytest.approx(2.228 / math.sqrt(11))
    assert interval([-math.sqrt(20), math.sqrt(20), *[0.0] * 39])[2] == pytest.approx(2.042 / math.sqrt(41))


def test_an_interval_of_equal_values_has_no_width() -> None:
    assert interval([3.0]) == (3.0, 3.0, 3.0)
    assert interval([3.0] * 20) == (3.0, 3.0, 3.0)
