from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from prunelle.data.loaders import from_loaders
from prunelle.data.task import Split, correct
from prunelle.errors import LimitError, SettingError
from prunelle.ship.gate import LIMITS, NOISE, Exam, exam_on, exam_on_noise, hold, smaller

NUM = 1000


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4))


def split() -> Split:
    """1,000 images whose targets are what `net` says of them: its top-1 is 1."""
    torch.manual_seed(1)
    images = torch.randn(NUM, 3, 2, 2)
    loader = DataLoader(TensorDataset(images, net()(images).argmax(1)), batch_size=100)
    return from_loaders(loader, loader, loader, name="small", input_shape=(3, 2, 2), num_classes=4).test


@pytest.fixture
def exam() -> Exam:
    return exam_on(net(), split(), correct, "test split of small")


def run(images: Tensor) -> Tensor:
    with torch.no_grad():
        return net()(images)


def wrong_for(count: int):
    """The model, but for the first `count` images of the exam, whose largest output becomes the smallest."""
    seen = 0

    def run_(images: Tensor) -> Tensor:
        nonlocal seen
        outputs = run(images)
        for row in range(len(images)):
            if seen + row < count:
                outputs[row, outputs[row].argmax()] -= 100.0
        seen += len(images)
        return outputs

    return run_


def test_the_model_itself_passes_with_every_figure_at_its_best(exam):
    found = hold("x", run, exam, "fp32")
    assert (found.error, found.equal, found.num_images) == (0.0, 1.0, NUM)
    assert (found.top1_before, found.top1_after, found.where) == (1.0, 1.0, "test split of small")


def test_images_come_one_by_one_and_in_hundreds(exam):
    sizes = [len(images) for images in exam.batches()]
    assert sizes == [1] * 16 + [84] + [100] * 9
    assert torch.equal(torch.cat(list(exam.batches())), torch.cat([images for images, _ in split().epoch(500)]))


@pytest.mark.parametrize("share, passes", [(0.9e-4, True), (1.1e-4, False)])
def test_fp32_may_be_off_by_a_ten_thousandth_of_the_largest_logit(exam, share, passes):
    shift = share * float(exam.outputs.abs().max())
    if passes:
        assert hold("x", lambda images: run(images) + shift, exam, "fp32").error == pytest.approx(share, rel=0.01)
        return
    with pytest.raises(
        LimitError,
        match=r"^x: an output is off by 0\.00011 of max\|logit\|, at most 0\.0001 is allowed \(fp32, 1,000 images\); "
        r"it is not shipped\.$",
    ):
        hold("x", lambda images: run(images) + shift, exam, "fp32")


@pytest.mark.parametrize("precision, most", [("int16", 5), ("bf16", 5), ("fp16", 5), ("int8", 15)])
def test_how_many_predictions_may_differ(exam, precision, most):
    judged = replace(exam, metric=lambda outputs, targets: torch.ones(len(targets)))  # top-1 alone is not asked
    assert hold("x", wrong_for(most), judged, precision).equal == 1 - most / NUM
    with pytest.raises(LimitError, match=rf"{100 - (most + 1) / 10:.2f} % of the predictions are the model's"):
        hold("x", wrong_for(most + 1), judged, precision)


def test_16_bits_may_cost_a_tenth_of_a_point_and_int8_more(exam):
    assert hold("x", wrong_for(1), exam, "int16").top1_after == 0.999
    with pytest.raises(LimitError, match=r"top-1 falls by 0\.200 points, at most 0\.1 are allowed"):
        hold("x", wrong_for(2), exam, "int16")
    assert hold("x", wrong_for(2), exam, "int8").top1_after == 0.998


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", LIMITS)
def test_one_nan_in_a_thousand_images_is_refused(exam, bad, precision):
    seen = 0

    def broken(images: Tensor) -> Tensor:
        nonlocal seen
        outputs, seen = run(images), seen + len(images)
        if seen == NUM:
            outputs[-1, 2] = bad
        return outputs

    with pytest.raises(LimitError, match="x: 1 of 1,000 images give NaN or infinity, none may"):
        hold("x", broken, exam, precision)


@pytest.mark.parametrize("precision", LIMITS)
def test_a_constant_is_refused_also_where_the_model_is_one(exam, precision):
    constant = torch.tensor([0.1, 0.9, 0.2, 0.3])
    judged = replace(exam, outputs=constant.expand(NUM, 4))
    with pytest.raises(LimitError, match="all of 1,000 images give the same output, a constant"):
        hold("x", lambda images: constant.expand(len(images), 4), judged, precision)


def test_logits_of_the_neighbouring_image_are_refused(exam):
    with pytest.raises(LimitError, match="predictions are the model's"):
        hold("x", lambda images: run(images.roll(1, 0)), exam, "int8")


def test_another_shape_is_named(exam):
    with pytest.raises(LimitError, match=r"shape \(1000, 3\) where the model gives \(1000, 4\)"):
        hold("x", lambda images: run(images)[:, :3], exam, "fp32")


def test_noise_shows_a_wrong_kernel_and_judges_nothing_below_fp32():
    exam = exam_on_noise(net(), (3, 2, 2))
    found = hold("x", run, exam, "fp32")
    assert found.where == NOISE and found.top1_after is None and found.error == 0
    with pytest.raises(LimitError, match="off by"):
        hold("x", lambda images: 1.001 * run(images), exam, "fp32")
    with pytest.raises(SettingError, match="x: what int8 costs shows on images only; pass --data"):
        hold("x", run, exam, "int8")


def test_small_means_smaller_than_the_dense_weights():
    smaller("x", 99, 100)
    with pytest.raises(LimitError, match="x: is 1,000 bytes and the dense safetensors 1,000, it must be smaller"):
        smaller("x", 1000, 1000)
