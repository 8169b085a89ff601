import json
from pathlib import Path

import pytest
import torch
from torch import nn

from prunelle.errors import CorruptFileError, ModelError, SettingError, UntrustedCodeError
from prunelle.files import write_sealed_json
from prunelle.ship.exported import write_pt2
from prunelle.ship.shipped import (
    MANIFEST,
    Counts,
    Shipped,
    is_shipped,
    list_files,
    open_shipped,
    read_shipped,
    write_shipped,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("pt2") / "model.pt2"
    torch.manual_seed(0)
    write_pt2(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.zeros(1, 3, 2, 2), path)
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path: Path, file: bytes) -> Path:
    (tmp_path / "model.pt2").write_bytes(file)
    (tmp_path / "report.html").write_text("not counted")
    (tmp_path / "source.c").write_text("not counted either, but checked")
    found = Shipped(
        format="pt2",
        precision="fp32",
        runtime="pt2",
        model="mine",
        source_sha256="0" * 64,
        input_shape=[3, 2, 2],
        num_classes=2,
        files=list_files(tmp_path, "pt2"),
        sizes_bytes={"dense_safetensors": 200},
        parity=None,
        counts=Counts(params=26, nnz=26, sparsity=0.0),
        asked={},
        environment={},
    )
    write_shipped(found, tmp_path)
    return tmp_path


def test_what_was_written_opens_and_counts_only_what_runs(folder: Path, file: bytes) -> None:
    run, found = open_shipped(folder, trust=True)
    assert is_shipped(folder) and [(name, one.runs) for name, one in found.files.items()] == [
        ("model.pt2", True),
        ("source.c", False),
    ]
    assert found.size_bytes == len(file) == (folder / "model.pt2").stat().st_size
    assert run(torch.zeros(5, 3, 2, 2)).shape == (5, 2)


def test_code_is_opened_only_with_trust(folder: Path) -> None:
    with pytest.raises(UntrustedCodeError, match="holds a pt2 file, which is code and would be run; pass --trust"):
        open_shipped(folder)


def test_no_file_but_the_one_shipped_is_opened(folder: Path, file: bytes) -> None:
    (folder / "model.pt2").write_bytes(bytes([file[0] ^ 1]) + file[1:])
    with pytest.raises(CorruptFileError, match=r"model\.pt2: does not match its SHA-256 in ship\.json"):
        open_shipped(folder, trust=True)
    (folder / "model.pt2").unlink()
    with pytest.raises(CorruptFileError, match=r"model\.pt2: is not there"):
        open_shipped(folder, trust=True)


def test_every_bit_of_ship_json_is_sealed(folder: Path) -> None:
    raw = (folder / MANIFEST).read_bytes()
    for place in range(0, len(raw), 7):
        (folder / MANIFEST).write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        with pytest.raises(CorruptFileError):
            read_shipped(folder)


HOSTILE = {
    "format": "exe",
    "precision": "int4",
    "target": "riscv64",
    "input_shape": [3, 2],
    "num_classes": 0,
    "schema_version": 2,
    "sizes_bytes": {"packed": -1},
    "table": [{"name": "x"}],
    "surprise": 1,
}


@pytest.mark.parametrize("key", HOSTILE)
def test_a_seal_alone_is_not_enough(folder: Path, key: str) -> None:
    values = json.loads((folder / MANIFEST).read_text())
    values.pop("seal")
    write_sealed_json(folder / MANIFEST, values | {key: HOSTILE[key]})
    with pytest.raises(CorruptFileError, match=r"of this version|by this version"):
        read_shipped(folder)


def test_files_outside_the_folder_are_not_read(folder: Path) -> None:
    values = json.loads((folder / MANIFEST).read_text())
    values.pop("seal")
    entry = values["files"].pop("model.pt2")
    (folder.parent / "outside.pt2").write_bytes((folder / "model.pt2").read_bytes())
    write_sealed_json(folder / MANIFEST, values | {"files": {"../outside.pt2": entry}})
    with pytest.raises(CorruptFileError, match="is not there"):
        open_shipped(folder, trust=True)


def test_another_machine_s_library_and_no_folder_of_ours_are_named(folder: Path, tmp_path_factory) -> None:
    found = read_shipped(folder).model_copy(update={"target": "aarch64-linux"})
    write_shipped(found, folder)
    with pytest.raises(SettingError, match="was built for aarch64-linux, which this machine cannot run"):
        open_shipped(folder, trust=True)
    with pytest.raises(ModelError, match=r"holds no ship\.json"):
        read_shipped(tmp_path_factory.mktemp("empty"))
