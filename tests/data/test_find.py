import subprocess
import sys
from pathlib import Path

import pytest

from prunelle.data.find import check_data, find_files, places
from prunelle.data.names import SOURCES
from prunelle.errors import DataError, MissingExtraError

from . import small_sets


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own is found."""
    monkeypatch.delenv("PRUNELLE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_places_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNELLE_DATA", "/b:/c:")
    assert places("/a") == [Path("/a"), Path("/b"), Path("/c"), tmp_path / "cache" / "prunelle"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert places()[-1] == Path.home() / ".cache" / "prunelle"


def test_first_place_that_has_all_files_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("given", "listed", "cache/prunelle"):
        small_sets.write_mnist(tmp_path / name / "mnist", 10, 10)
    monkeypatch.setenv("PRUNELLE_DATA", f"{tmp_path / 'none'}:{tmp_path / 'listed'}")
    label_file = "train-labels-idx1-ubyte"

    def found() -> Path:
        return find_files(SOURCES["mnist"], tmp_path / "given")[label_file]

    assert found() == tmp_path / "given" / "mnist" / label_file
    (tmp_path / "given" / "mnist" / label_file).unlink()
    assert found() == tmp_path / "listed" / "mnist" / label_file
    (tmp_path / "listed" / "mnist" / label_file).unlink()
    assert found() == tmp_path / "cache" / "prunelle" / "mnist" / label_file


@pytest.mark.parametrize("folder", [".", "MNIST/raw", "mnist"])
def test_plain_and_gzipped_may_be_mixed(folder: str, tmp_path: Path) -> None:
    small_sets.write_mnist(tmp_path / folder, 10, 10)
    small_sets.write_idx(tmp_path / folder / "t10k-labels-idx1-ubyte.gz", small_sets.labels(10, 10))
    (tmp_path / folder / "t10k-labels-idx1-ubyte").unlink()
    assert check_data("mnist", tmp_path).files["t10k-labels-idx1-ubyte"].suffix == ".gz"


def test_mnist_is_never_taken_for_fashion_mnist(tmp_path: Path) -> None:
    small_sets.write_mnist(tmp_path / "mnist", 10, 10)
    assert check_data("mnist", tmp_path / "mnist").files
    with pytest.raises(DataError):
        check_data("fashion-mnist", tmp_path / "mnist")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        check_data("cifar100", tmp_path)
    assert str(caught.value) == (
        f"cifar100: found no folder with train.bin, test.bin in {tmp_path}, {tmp_path}/cache/prunelle or below in "
        "cifar-100-binary, cifar100, cifar100/cifar-100-binary; put the files there, or name their folder with "
        "--data-dir or PRUNELLE_DATA."
    )


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("mnit", "did you mean mnist?"),
        ("CIFAR-10", "did you mean cifar10"),
        ("zzz", "give one of these."),
        ("a/b", "a/b: no such file or folder"),
        ("b.npz", "b.npz: no such file or folder"),
        ("", "'': no data set of this name"),
        ("x" * 5000, "cannot be looked up (File name too long)"),
        ("a\0b", "no data set of this name"),
    ],
)
def test_unknown_names(word: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        check_data(word)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_paths(tmp_path: Path) -> None:
    archive = small_sets.write_npz(tmp_path / "x.npz")
    assert check_data(archive).path == archive
    assert check_data(small_sets.write_images(tmp_path / "pets")).path == tmp_path / "pets"
    with pytest.raises(DataError, match="holds no folders"):
        check_data(tmp_path / "pets" / "cats")
    with pytest.raises(DataError, match="is not a data set"):
        check_data(tmp_path / "pets" / "cats" / "000.png")
    with pytest.raises(DataError, match=r"--data-dir .*nowhere: is not a folder"):
        check_data("mnist", tmp_path / "nowhere")


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install prunelle\[demo\]"):
        check_data("digits")


def test_asking_does_not_load_torch() -> None:
    code = "import sys; from prunelle.data.find import check_data; check_data('digits'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_prepared_folders(tmp_path: Path) -> None:
    made = small_sets.write_shards(small_sets.write_images(tmp_path / "pets"), tmp_path / "made", 4)
    assert check_data(made).path == made
    (made / "shards.json").unlink()
    with pytest.raises(DataError, match="made: holds an unfinished set; start its prunelle prepare again"):
        check_data(made)
