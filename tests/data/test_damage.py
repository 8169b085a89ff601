"""Flipped bits, truncated files and hostile headers: a DataError of one sentence or a clean load, nothing else."""

import contextlib
import gzip
import os
import pickle
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prunelle.data.load import load_task
from prunelle.errors import DataError, InputError

from . import small_sets


def mnist(root: Path) -> Callable:
    small_sets.write_mnist(root / "mnist", 12, 10, ending=".gz")
    return lambda: load_task("mnist", data_dir=root)


def cifar10(root: Path) -> Callable:
    small_sets.write_cifar10(root / "cifar10", 2)
    return lambda: load_task("cifar10", data_dir=root)


def npz(root: Path) -> Callable:
    path = small_sets.write_npz(root / "x.npz")
    return lambda: load_task(path)


def npz_compressed(root: Path) -> Callable:
    images = small_sets.pixels(20, 4, 4).astype(np.float32)
    np.savez_compressed(root / "x.npz", images=images, labels=small_sets.labels(20, 4))
    return lambda: load_task(root / "x.npz")


def images(ending: str) -> Callable:
    def make(root: Path) -> Callable:
        small_sets.write_images(root / "pets", num=6, ending=ending)
        return lambda: load_task(root / "pets")

    return make


MAKERS = {f.__name__: f for f in (mnist, cifar10, npz, npz_compressed)}
MAKERS |= {ending[1:]: images(ending) for ending in (".png", ".jpg", ".webp", ".gif", ".bmp", ".tif")}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # what pillow says of a damaged TIFF that it can still read
@pytest.mark.parametrize("maker", MAKERS)
def test_flips_and_truncations(maker: str, tmp_path: Path) -> None:
    load = MAKERS[maker](tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    random_ = random.Random(maker)
    for turn in range(60):
        path = random_.choice(files)
        content = path.read_bytes()
        damaged = bytearray(content)
        if turn % 3 == 0:
            del damaged[random_.randrange(len(content)) :]
        else:
            # Headers and footers, where the structure is, as often as pixels.
            at = random_.randrange(len(content) * 8)
            near = random_.randrange(8 * min(120, len(content)))
            at = (at, near, len(content) * 8 - 1 - near)[random_.randrange(3)]
            damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            load()
        except DataError as error:
            assert "\n" not in str(error) and str(tmp_path) in str(error)
        path.write_bytes(content)
    load()


@pytest.mark.parametrize("maker", ["mnist", "npz", "npz_compressed"])
def test_where_there_is_a_checksum_no_pixel_changes_unseen(maker: str, tmp_path: Path) -> None:
    load = MAKERS[maker](tmp_path)
    before = load().fingerprint
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    random_ = random.Random(0)
    for _ in range(60):
        path = random_.choice(files)
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):
            assert load().fingerprint == before
        path.write_bytes(content)


class Boom:
    def __reduce__(self):
        return os.system, ("touch ran",)


def write_npy_claim(path: Path, header: str, content: bytes = b"") -> None:
    text = header.encode().ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + content)
        archive.writestr("labels.npy", b"")


HOSTILE = {
    "shape of 2**40": "{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 8, 8), }",
    "shape that wraps to 0": "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296, 1), }",
    "negative": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -1, -1), }",
    "no integers": "{'descr': '|u1', 'fortran_order': False, 'shape': (1.5, 'x'), }",
    "code": "{'descr': '|u1', 'fortran_order': False, 'shape': __import__('os').system('touch ran'), }",
    "object": "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    "fields": "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }",
    "deep": "(" * 110,
}


@pytest.mark.parametrize("header", HOSTILE.values(), ids=HOSTILE)
def test_hostile_npz_headers(header: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_npy_claim(tmp_path / "x.npz", header, pickle.dumps([Boom()] * 3))
    assert_refused_small("x.npz")


def test_hostile_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pickle.npz").write_bytes(pickle.dumps(Boom()))
    np.savez("objects.npz", images=np.array([Boom()] * 3), labels=np.arange(3), allow_pickle=True)
    Path("empty.npz").write_bytes(b"")
    np.savez_compressed("bomb.npz", images=np.zeros((40, 8, 8)), labels=np.arange(40) % 2)
    content = bytearray(Path("bomb.npz").read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 2**32 - 2)
    Path("bomb.npz").write_bytes(content)
    for name in ("pickle.npz", "objects.npz", "empty.npz", "bomb.npz"):
        assert_refused_small(name)


def test_hostile_idx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small_sets.write_mnist(tmp_path / "mnist", ending=".gz")
    header = struct.pack(">4I", 0x803, 2**31, 28, 28)
    Path("mnist/t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(10_000)))
    assert_refused_small("mnist", tmp_path)


def test_hostile_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = small_sets.write_images(tmp_path / "pets")
    content = bytearray((root / "cats" / "002.png").read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (root / "cats" / "002.png").write_bytes(content)
    assert_refused_small(str(root))


def assert_refused_small(name: str, data_dir: Path | None = None) -> None:
    """Refused in one sentence, within 20 MB, and without running what the file carries."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            load_task(name, data_dir=data_dir)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert not Path("ran").exists()
