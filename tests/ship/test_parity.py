import pytest
import torch
from torch import nn

from prunelle.errors import MeasurementError
from prunelle.ship.parity import check_parity

EXAMPLE = torch.ones(2, 4)


def test_equal_outputs_pass_also_when_all_are_zero():
    check_parity("r", nn.Identity(), nn.Identity(), EXAMPLE)
    check_parity("r", torch.zeros_like, nn.Threshold(100.0, 0.0), EXAMPLE)


def test_the_tolerance_is_a_share_of_the_largest_output():
    check_parity("r", lambda images: 1.00009 * images, nn.Identity(), EXAMPLE)
    with pytest.raises(MeasurementError, match=r"runtime r: an output is off by 0\.00011 where the largest is 1"):
        check_parity("r", lambda images: 1.00011 * images, nn.Identity(), EXAMPLE)


def test_nan_is_not_parity():
    with pytest.raises(MeasurementError, match="off by nan"):
        check_parity("r", lambda images: images * float("nan"), nn.Identity(), EXAMPLE)


def test_another_shape_is_named():
    with pytest.raises(MeasurementError, match=r"has shape \(2, 1\) where PyTorch's has \(2, 4\)"):
        check_parity("r", lambda images: images[:, :1], nn.Identity(), EXAMPLE)


def test_noise_finds_what_a_constant_example_hides():
    with pytest.raises(MeasurementError):
        check_parity("r", torch.ones_like, nn.Identity(), EXAMPLE)


def test_more_images_try_another_batch_size():
    seen = []

    def run(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return images

    check_parity("r", run, nn.Identity(), EXAMPLE, num_more=1)
    assert seen == [2, 3]
