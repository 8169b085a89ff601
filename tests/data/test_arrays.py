import numpy as np
import pytest
import torch

from prunelle.data import arrays
from prunelle.data.arrays import Arrays, ArraySet, ArraySplit
from prunelle.data.augment import crop_flip
from prunelle.data.task import Preprocessing

from . import small_sets

SCALING = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def split(augment=None) -> ArraySplit:
    images = torch.from_numpy(small_sets.pixels(20, 3, 6, 6))
    return ArraySplit(images, torch.arange(20), SCALING, augment)


def generators(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def test_kept_ready_or_not_the_bits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    small = list(split().epoch(8, order=generators(0)))
    monkeypatch.setattr(arrays, "READY_BYTES", 0)
    large = split()
    assert large.ready is None
    for one, two in zip(small, large.epoch(8, order=generators(0)), strict=True):
        assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


def test_a_value_by_hand() -> None:
    inputs, targets = next(split().epoch(20))
    assert targets.tolist() == list(range(20))
    torch.testing.assert_close(inputs[4, 1], (split().images[4, 1] / 255 - 0.4) / 0.3)


def test_augmentation_sees_raw_images_so_padding_is_black() -> None:
    white = ArraySplit(torch.full((8, 3, 6, 6), 255, dtype=torch.uint8), torch.zeros(8), SCALING, crop_flip)
    inputs, _ = next(white.epoch(8, augment=generators))
    black, lit = (SCALING(torch.full((1, 3, 1, 1), value)) for value in (0, 255))
    assert ((inputs == black) | (inputs == lit)).all()
    assert (inputs == black).any()


def test_augmented_batch_is_the_function_of_its_own_generator() -> None:
    one = split(crop_flip)
    batches = list(one.epoch(8, augment=generators))
    expected = SCALING(crop_flip(one.images[8:16], generators(1)))
    assert torch.equal(batches[1][0], expected)


def test_the_order_is_drawn_when_the_epoch_is_asked_for() -> None:
    generator = generators(0)
    before = generator.get_state()
    split().epoch(8, order=generator)
    assert not torch.equal(before, generator.get_state())


def test_fingerprint_sees_bytes_labels_split_and_type() -> None:
    images = np.zeros((6, 1, 2, 2), np.uint8)
    labels = np.arange(6)

    def mark(images: np.ndarray = images, labels: np.ndarray = labels, at: int = 4) -> str:
        parts = [Arrays(images[a:b], labels[a:b]) for a, b in ((0, 2), (2, at), (at, 6))]
        return ArraySet("x", *parts, Preprocessing((0,), (1,)), ("a",)).fingerprint()

    other = images.copy()
    other[5, 0, 1, 1] = 1
    marks = [mark(), mark(other), mark(labels=labels[::-1].copy()), mark(at=5), mark(images.astype(np.float32))]
    assert len(set(marks)) == 5 and mark() == mark(images.copy())


def test_to_the_same_device_keeps_what_is_ready() -> None:
    one = split()
    assert one.to("cpu") is one


@pytest.mark.gpu
def test_on_the_gpu() -> None:
    one, two = split(crop_flip), split(crop_flip).to("cuda")
    for (x, y), (gx, gy) in zip(one.epoch(8, order=generators(0)), two.epoch(8, order=generators(0)), strict=True):
        assert gx.is_cuda and torch.equal(y, gy.cpu())
        torch.testing.assert_close(x, gx.cpu())
    augmented = next(two.epoch(8, augment=lambda b: torch.Generator("cuda").manual_seed(b)))[0]
    assert augmented.is_cuda
