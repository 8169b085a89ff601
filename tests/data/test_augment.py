import pytest
import torch

from prunelle.data.augment import crop, crop_flip, flip


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


IMAGES = torch.arange(1, 41 * 3 * 5 * 6 + 1).reshape(41, 3, 5, 6)


def plain_crop(images: torch.Tensor, generator: torch.Generator, padding: int) -> torch.Tensor:
    """One image at a time, from the same draws."""
    offsets = torch.randint(0, 2 * padding + 1, (2, len(images)), generator=generator)
    out = []
    for image, (top, left) in zip(images, offsets.T.tolist(), strict=True):
        padded = torch.zeros(3, 5 + 2 * padding, 6 + 2 * padding, dtype=images.dtype)
        padded[:, padding : padding + 5, padding : padding + 6] = image
        out.append(padded[:, top : top + 5, left : left + 6])
    return torch.stack(out)


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_crop_is_the_plain_crop(padding: int) -> None:
    assert torch.equal(crop(IMAGES, rng(), padding), plain_crop(IMAGES, rng(), padding))


def test_no_padding_changes_nothing() -> None:
    assert torch.equal(crop(IMAGES, rng(), 0), IMAGES)


def test_flip_mirrors_about_half() -> None:
    images = torch.arange(4.0).expand(1000, 1, 1, 4)
    mirrored = flip(images, rng())[:, 0, 0]
    assert set(map(tuple, mirrored.tolist())) == {(0, 1, 2, 3), (3, 2, 1, 0)}
    assert 430 < int((mirrored[:, 0] == 3).sum()) < 570


def test_crop_reaches_every_offset_alike() -> None:
    images = torch.ones(9 * 200, 1, 1, 1, dtype=torch.uint8)
    kept = int(crop(images, rng(), 1).sum())  # only the middle one of 9 windows sees the pixel
    assert 150 < kept < 250


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_same_generator_same_images(dtype: torch.dtype) -> None:
    images = IMAGES.to(dtype)
    before = images.clone()
    out = crop_flip(images, rng())
    assert out.dtype == dtype and out.shape == images.shape
    assert torch.equal(out, crop_flip(images, rng()))
    assert not torch.equal(out, crop_flip(images, rng(1)))
    assert torch.equal(images, before)


@pytest.mark.gpu
def test_on_the_gpu() -> None:
    images = IMAGES.byte().cuda()
    one, two = (crop_flip(images, torch.Generator("cuda").manual_seed(0)) for _ in range(2))
    assert one.is_cuda and torch.equal(one, two)
