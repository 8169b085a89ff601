"""The named sets: numbers of the real ones, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prunelle.data.load import load_task
from prunelle.data.task import Task
from prunelle.errors import MissingExtraError, SettingError

from . import small_sets


def lengths(task: Task) -> tuple[int, int, int]:
    return len(task.train), len(task.val), len(task.test)


def counts(split) -> list[int]:
    return torch.bincount(torch.cat([y for _, y in split.epoch(1000)])).tolist()


def test_digits() -> None:
    task = load_task("digits")
    assert lengths(task) == (1197, 200, 400)
    assert task.input_shape == (1, 8, 8) and task.num_classes == 10
    assert task.fingerprint == "32235e9f7487912c33bc4f9db52590781fb1b3bad8e2042a1ea79ef9ba0d5d6c"
    assert task.train.images.dtype == torch.uint8 and task.train.images.max() == 16
    assert all(38 <= count <= 42 for count in counts(task.test))
    inputs = torch.cat([x for x, _ in task.train.epoch(500)])
    assert abs(inputs.mean()) < 0.01 and abs(inputs.std() - 1) < 0.01


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: object())
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install prunelle\[demo\]"):
        load_task("digits")


@pytest.mark.real_data
def test_real_mnist(mnist_dir: Path) -> None:
    task = load_task("mnist", data_dir=mnist_dir)
    assert lengths(task) == (55_000, 5_000, 10_000)
    assert counts(task.test) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert task.fingerprint == "3d793077507704f432b831597cc86e279a88a998e49eeb7137e329617e6fc334"
    raw = task.train.images.float() / 255
    assert abs(raw.mean() - 0.1307) < 1e-3 and abs(raw.std() - 0.3081) < 1e-3


@pytest.mark.real_data
def test_real_cifar10(cifar10_dir: Path) -> None:
    task = load_task("cifar10", data_dir=cifar10_dir)
    assert lengths(task) == (45_000, 5_000, 10_000)
    assert counts(task.test) == [1000] * 10 and counts(task.val) == [500] * 10
    assert task.fingerprint == "84d2dee4fedf689cfeae9972d85279eb1f8792009bf90399a35eb1734606e7e6"
    assert next(task.test.epoch(4))[1].tolist() == [3, 8, 8, 0]


def test_cifar100_reads_the_fine_label(tmp_path: Path) -> None:
    task = load_task("cifar100", data_dir=small_sets.write_cifar100(tmp_path / "cifar-100-binary"))
    assert next(task.test.epoch(10))[1].tolist() == list(range(10))
    assert task.num_classes == 100 and task.class_names[99] == "worm"


def test_cifar_planes(tmp_path: Path) -> None:
    small_sets.write_cifar10(tmp_path)
    record = np.fromfile(tmp_path / "test_batch.bin", np.uint8)[3073 : 2 * 3073]
    image = load_task("cifar10", data_dir=tmp_path).test.images[1]
    assert image[2, 5, 7] == record[1 + 2 * 1024 + 5 * 32 + 7]


def test_image_size_is_for_folders(tmp_path: Path) -> None:
    assert load_task("digits", image_size=8).input_shape == (1, 8, 8)
    with pytest.raises(SettingError, match="digits: image_size is 32, its images have 8 pixels a side"):
        load_task("digits", image_size=32)
    with pytest.raises(SettingError, match="image_size is for image folders"):
        load_task(small_sets.write_npz(tmp_path / "x.npz"), image_size=32)
    task = load_task(small_sets.write_images(tmp_path / "pets"), image_size=9)
    assert task.input_shape == (3, 9, 9) and next(task.test.epoch(1))[0].shape == (1, 3, 9, 9)
