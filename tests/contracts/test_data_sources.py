"""One suite over every data source: what any Task owes to whoever trains, resumes and measures with it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from data import small_sets
from torch.utils.data import DataLoader, TensorDataset

from prunelle.data.folder import load_folder
from prunelle.data.load import READERS, load_task
from prunelle.data.loaders import from_loaders
from prunelle.data.names import SOURCES
from prunelle.data.shard_split import load_shards
from prunelle.data.task import Split, Task
from prunelle.seeds import generator

Load = Callable[..., Task]


def digits(root: Path) -> tuple[Load, Path | None]:
    return lambda **kw: load_task("digits", **kw), None


def mnist(root: Path) -> tuple[Load, Path | None]:
    folder = small_sets.write_mnist(root / "mnist")
    return lambda **kw: load_task("mnist", data_dir=root, **kw), folder / "train-images-idx3-ubyte"


def fashion_mnist(root: Path) -> tuple[Load, Path | None]:
    folder = small_sets.write_mnist(root / "FashionMNIST" / "raw")
    return lambda **kw: load_task("fashion-mnist", data_dir=root, **kw), folder / "t10k-images-idx3-ubyte"


def cifar10(root: Path) -> tuple[Load, Path | None]:
    folder = small_sets.write_cifar10(root / "cifar-10-batches-bin")
    return lambda **kw: load_task("cifar10", data_dir=root, **kw), folder / "data_batch_3.bin"


def cifar100(root: Path) -> tuple[Load, Path | None]:
    folder = small_sets.write_cifar100(root / "cifar-100-binary")
    return lambda **kw: load_task("cifar100", data_dir=root, **kw), folder / "test.bin"


def folder(root: Path) -> tuple[Load, Path | None]:
    small_sets.write_images(root / "pets", num=20, ending=".bmp")
    return lambda **kw: load_task(root / "pets", **kw), root / "pets" / "cats" / "000.bmp"


def folder_streamed(root: Path) -> tuple[Load, Path | None]:
    small_sets.write_images(root / "pets", num=20)
    return lambda **kw: load_folder(root / "pets", memory_bytes=0, **kw), None


def imagenet_streamed(root: Path) -> tuple[Load, Path | None]:
    small_sets.write_images(root / "imagenet" / "train", num=20)
    small_sets.write_images(root / "imagenet" / "val", num=8)
    return lambda **kw: load_folder(root / "imagenet", memory_bytes=0, **kw), None


def prepared(root: Path) -> tuple[Load, Path | None]:
    made = small_sets.write_shards(small_sets.write_images(root / "pets", num=20), root / "made", 8)
    return lambda **kw: load_task(made, **kw), None


def prepared_streamed(root: Path) -> tuple[Load, Path | None]:
    small_sets.write_images(root / "imagenet" / "train", num=20)
    small_sets.write_images(root / "imagenet" / "val", num=8)
    made = small_sets.write_shards(root / "imagenet", root / "made", 8)
    return lambda **kw: load_shards(made, memory_bytes=0, **kw), None


def npz(root: Path) -> tuple[Load, Path | None]:
    path = small_sets.write_npz(root / "mine.npz")
    return lambda **kw: load_task(path, **kw), None


def loaders(root: Path) -> tuple[Load, Path | None]:
    images = torch.arange(30.0).view(30, 1, 1, 1).expand(30, 1, 2, 2)
    parts = [TensorDataset(images[a:b], torch.arange(a, b) % 3) for a, b in ((0, 17), (17, 22), (22, 30))]
    made = [DataLoader(part, batch_size=4) for part in parts]
    return lambda **kw: from_loaders(*made, input_shape=(1, 2, 2), num_classes=3), None


CASES = {
    **{"digits": digits, "mnist": mnist, "fashion-mnist": fashion_mnist, "cifar10": cifar10, "cifar100": cifar100},
    **{"folder": folder, "folder streamed": folder_streamed, "imagenet streamed": imagenet_streamed},
    **{"prepared": prepared, "prepared streamed": prepared_streamed},
    **{"npz": npz, "loaders": loaders},
}
AUGMENTED = {"cifar10", "cifar100", "folder", "folder streamed", "imagenet streamed"}
AUGMENTED |= {"prepared", "prepared streamed"}
OWN_ORDER = {"loaders"}


def test_every_source_has_a_reader_and_a_case() -> None:
    assert set(SOURCES) == set(READERS)
    assert set(SOURCES) <= set(CASES)


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Load, Path | None]:
    return request.param, *CASES[request.param](tmp_path)


def rows(split: Split) -> list[bytes]:
    return [row.numpy().tobytes() for inputs, _ in split.epoch(7) for row in inputs]


def same(left: list, right: list) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(left, right, strict=True)
    )


def per_batch(number: int) -> torch.Generator:
    return generator(5, "augment", number)


def test_shapes_types_and_labels(case) -> None:
    task = case[1]()
    assert len(task.class_names) == task.num_classes
    assert len(task.preprocessing.mean) == task.input_shape[0]
    for split in (task.train, task.val, task.test):
        batches = list(split.epoch(7))
        assert sum(len(targets) for _, targets in batches) == len(split) > 0
        for inputs, targets in batches:
            assert inputs.dtype == torch.float32 and inputs.shape == (len(targets), *task.input_shape)
            assert targets.dtype == torch.int64 and targets.min() >= 0 and targets.max() < task.num_classes
            assert inputs.isfinite().all()


def test_splits_are_disjoint_and_complete_whatever_the_seed(case) -> None:
    name, load, _ = case
    tasks = [load(), load(), load(split_seed=1)]
    parts = [[rows(split) for split in (task.train, task.val, task.test)] for task in tasks]
    assert parts[0] == parts[1]
    assert tasks[0].fingerprint == tasks[1].fingerprint
    # As multisets, for the digits hold a few images twice.
    whole = [Counter(row for part in one for row in part) for one in parts]
    assert whole[0] == whole[2] or name == "npz"  # whose mean is that of its own training part
    if name not in OWN_ORDER:
        assert parts[0][1] != parts[2][1]
        assert tasks[0].fingerprint != tasks[2].fingerprint
    if name != "digits":
        assert max(whole[0].values()) == 1


def test_shuffled_epoch_covers_everything_once(case) -> None:
    name, load, _ = case
    split = load().train
    first, again, other = ([x for x, _ in split.epoch(7, order=generator(seed, "order"))] for seed in (0, 0, 1))
    assert all(map(torch.equal, first, again))
    if name not in OWN_ORDER:
        assert not all(map(torch.equal, first, other))
    assert sorted(row.numpy().tobytes() for row in torch.cat(first)) == sorted(rows(split))


@pytest.mark.parametrize("start", [1, 2])
def test_epoch_from_a_start_is_the_tail(case, start: int) -> None:
    split = case[1]().train
    whole, tail = (list(split.epoch(6, order=generator(3, "order"), augment=per_batch, start=at)) for at in (0, start))
    assert len(whole) > start
    assert same(whole[start:], tail)


def test_augmentation_repeats_and_is_only_where_asked(case) -> None:
    name, load, _ = case
    split = load().train
    plain, once, twice = (list(split.epoch(6, augment=augment)) for augment in (None, per_batch, per_batch))
    assert same(once, twice)
    assert same(once, plain) == (name not in AUGMENTED)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(once, plain, strict=True))
    if name not in OWN_ORDER:
        assert same(list(load(augment=False).train.epoch(6, augment=per_batch)), plain)


def test_short_last_batch(case) -> None:
    split = case[1]().train
    size = len(split) - 1
    kept, dropped = list(split.epoch(size)), list(split.epoch(size, drop_last=True))
    assert same(kept[:-1], dropped)
    only = list(split.epoch(len(split) + 1, drop_last=True))
    assert [len(targets) for _, targets in only] == [len(split)]


def test_fingerprint_changes_with_one_byte(case) -> None:
    _, load, path = case
    if path is None:
        pytest.skip("no file of its own, refused by a checksum, or only names and sizes are hashed")
    before = load().fingerprint
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 7] ^= 1  # a pixel in each of these files
    path.write_bytes(content)
    assert load().fingerprint != before


def test_batches_may_be_written_to(case) -> None:
    name, load, _ = case
    if name in OWN_ORDER:
        pytest.skip("the tensors are the user's")
    split = load().val
    before = rows(split)
    for inputs, targets in split.epoch(7):
        inputs.zero_()
        targets.zero_()
    assert rows(split) == before
