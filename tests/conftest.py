"""Real data for tests: PRUNELLE_DATA, else ../shared/data beside the project. Absent data skips, with the reason."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).parents[1]
CIFAR10_FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")

# One fixed number, so that sums are split alike on every machine that runs the tests.
torch.set_num_threads(2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
    if os.environ.get("PRUNELLE_CLUSTER") != "1":
        for item in items:
            if item.get_closest_marker("cluster"):
                item.add_marker(pytest.mark.skip(reason="starts servers; set PRUNELLE_CLUSTER=1"))


def _folder_with(folder: Path, *patterns: str) -> Path:
    missing = [pattern for pattern in patterns if not any(folder.glob(pattern))]
    if missing:
        pytest.skip(f"real data: {folder} lacks {', '.join(missing)}")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tests that loop over small tensors, where a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder that holds mnist/, cifar10/ and weights/."""
    listed = [Path(entry) for entry in os.environ.get("PRUNELLE_DATA", "").split(os.pathsep) if entry]
    for root in [*listed, REPO / ".." / "shared" / "data"]:
        if root.is_dir():
            return root.resolve()
    pytest.skip("real data: set PRUNELLE_DATA to a folder with mnist/, cifar10/ and weights/")


@pytest.fixture(scope="session")
def mnist_dir(data_root: Path) -> Path:
    """The folder of MNIST's four IDX files."""
    return _folder_with(data_root / "mnist", "train-images-idx3-ubyte*", "t10k-images-idx3-ubyte*")


@pytest.fixture(scope="session")
def cifar10_dir(data_root: Path) -> Path:
    """A folder that holds cifar-10-batches-bin/; unpacked once, into .cache/, where only the packed form is there."""
    for folder in (data_root, data_root / "cifar10"):
        if all((folder / "cifar-10-batches-bin" / name).is_file() for name in CIFAR10_FILES):
            return folder
    packed = _folder_with(data_root / "cifar10", "unpack.py", "cifar10_webp.zip")
    unpacked = REPO / ".cache" / "cifar10"
    subprocess.run([sys.executable, str(packed / "unpack.py"), str(unpacked)], check=True)
    return unpacked


@pytest.fixture(scope="session")
def weights_dir(data_root: Path) -> Path:
    """The folder of published weights: cifar10_resnet20.safetensors and its like."""
    return _folder_with(data_root / "weights", "cifar10_resnet20.safetensors")
