"""A shipped folder: the files of one format, and ship.json, which says what they are and how they were judged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prunelle.errors import CorruptFileError, ModelError, PrunelleError, SettingError, UntrustedCodeError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.models.names import Shape
from prunelle.ship.first_line import first_line
from prunelle.ship.formats import Run, load_format, open_format
from prunelle.ship.names import CODE, FOREIGN, FORMATS, PRECISIONS, TARGETS

MANIFEST = "ship.json"
REPORTS = ("report.html",)
CHUNK = 2**20
Side = Annotated[int, Field(ge=1, le=2**20)]
CHECKED = ConfigDict(frozen=True, extra="forbid", strict=True)
Finite = Annotated[float, Field(allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=2**48)]


class File(BaseModel):
    """One file of the folder. runs: whether running needs it; sources and what reads them are left out of the size."""

    model_config = CHECKED
    size_bytes: Bytes
    runs: bool
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Held(BaseModel):
    """How close the file is, as `gate.Parity`."""

    model_config = CHECKED
    where: str
    num_images: Annotated[int, Field(ge=1)]
    error: Finite
    equal: Finite
    top1_before: Finite | None = None
    top1_after: Finite | None = None


class Counts(BaseModel):
    """Of the model that was shipped, as in its card."""

    model_config = CHECKED
    params: Bytes
    nnz: Bytes
    sparsity: Finite
    macs: Bytes | None = None
    macs_nonzero: Bytes | None = None


class Row(BaseModel):
    """One candidate, or eager PyTorch, with which all were timed. Times in milliseconds, ratio to eager."""

    model_config = CHECKED
    name: str
    format: str | None = None
    precision: str | None = None
    runtime: str
    status: str
    why: str
    size_bytes: Bytes | None = None
    parity: Held | None = None
    median_ms: Finite | None = None
    p95_ms: Finite | None = None
    p99_ms: Finite | None = None
    ratio: Finite | None = None
    ratio_low: Finite | None = None
    ratio_high: Finite | None = None
    num_samples: int | None = None
    batch: int
    threads: int
    winner: bool
    tied: bool


class Layer(BaseModel):
    """One layer of a native library: microseconds, multiply-adds, and what its zeros bring beside what they could."""

    model_config = CHECKED
    layer: str
    kernel: str
    us: Finite
    dense_us: Finite | None = None
    dense_macs: int
    macs: int
    measured: Finite | None = None
    theoretical: Finite | None = None


class Shipped(BaseModel):
    """ship.json.

    files: by name. sizes_bytes: of the same network in other forms, each by os.stat.
    asked: the command's words, by which a second start knows its own. parity: None where it could not run here.
    table: the candidates that were tried, in rows.
    """

    model_config = CHECKED
    schema_version: Literal[1] = 1
    format: str
    precision: str
    runtime: str
    target: str = "native"
    model: str
    source_sha256: str
    input_shape: list[Side] = Field(min_length=3, max_length=3)
    num_classes: Annotated[int, Field(ge=1, le=2**24)]
    preprocessing: dict | None = None
    class_names: list[str] = []
    data: str | None = None
    files: dict[str, File]
    sizes_bytes: dict[str, Bytes | None]
    parity: Held | None
    counts: Counts
    asked: dict[str, Any]
    table: list[Row] = []
    layers: list[Layer] = []
    environment: dict[str, Any]

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of an image."""
        channels, height, width = self.input_shape
        return channels, height, width

    @property
    def size_bytes(self) -> int:
        """Of the files that running needs."""
        return running_bytes(self.files)


def is_shipped(folder: str | Path) -> bool:
    """Whether a shipped network stands in `folder`."""
    return (Path(folder) / MANIFEST).is_file()


def running_bytes(files: Mapping[str, File]) -> int:
    """Bytes of those that running needs."""
    return sum(file.size_bytes for file in files.values() if file.runs)


def list_files(folder: Path, name: str) -> dict[str, File]:
    """Name, bytes and hash of every file in a folder of format `name` and below, reports and ship.json left out."""
    endings = load_format(name).endings
    return {
        path.relative_to(folder).as_posix(): File(
            size_bytes=path.stat().st_size, sha256=hash_of(path), runs=path.suffix in endings
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and path.name not in REPORTS
    }


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_shipped(found: Shipped, folder: Path) -> None:
    """Write ship.json, sealed. Raises DiskError."""
    write_sealed_json(folder / MANIFEST, found.model_dump(mode="json"))


def read_shipped(folder: str | Path) -> Shipped:
    """ship.json, its seal and every field checked; no file is opened. Raises CorruptFileError, ModelError."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise ModelError(f"{folder}: holds no {MANIFEST}; give a folder that prunelle ship wrote.")
    try:
        found = Shipped.model_validate(read_sealed_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CorruptFileError(f"{path}: {place}: {first['msg']}; it was not written by this version.") from None
    known = found.format in FORMATS and found.precision in PRECISIONS[found.format] and found.target in TARGETS
    if not known:
        raise CorruptFileError(f"{path}: format {found.format!r} in {found.precision!r} is none of this version.")
    return found


def check_files(folder: Path, found: Shipped) -> None:
    """Every file is the one that was shipped. Raises CorruptFileError."""
    for name, file in found.files.items():
        path = folder / name
        if not within(path, folder) or not path.is_file():
            raise CorruptFileError(f"{path}: is not there, {MANIFEST} names it; take a fresh copy of the folder.")
        if path.stat().st_size != file.size_bytes or hash_of(path) != file.sha256:
            raise CorruptFileError(f"{path}: does not match its SHA-256 in {MANIFEST}; take a fresh copy.")


def within(path: Path, folder: Path) -> bool:
    """Whether a path, links and dots followed, stays inside a folder."""
    return path.resolve().is_relative_to(folder.resolve())


def open_shipped(folder: str | Path, threads: int = 1, trust: bool = False) -> tuple[Run, Shipped]:
    """(images (B, C, H, W) to outputs (B, classes), what ship.json says), on `threads` threads of the CPU.

    Raises UntrustedCodeError for code without trust, SettingError for a library of another machine, CorruptFileError
    for a file that is not the one shipped, what the runtime raises.
    """
    folder = Path(folder)
    found = read_shipped(folder)
    refuse_code(folder, found.format, trust)
    if found.target in FOREIGN:
        raise SettingError(f"{folder}: was built for {found.target}, which this machine cannot run; ship it for here.")
    check_files(folder, found)
    try:
        return open_format(found.format, folder, found.precision, threads, trust), found
    except PrunelleError:
        raise
    except Exception as error:  # of a runtime, which may be of another version than the one that wrote
        raise CorruptFileError(f"{folder}: cannot be opened ({first_line(error)}); ship it anew.") from error


def refuse_code(folder: str | Path, name: str, trust: bool) -> None:
    """Raises UntrustedCodeError for a format that is code, without trust."""
    if name in CODE and not trust:
        raise UntrustedCodeError(
            f"{folder}: holds a {name} file, which is code and would be run; pass --trust if you trust it."
        )


def sync(paths: Iterable[Path]) -> None:
    """Make files outlast a power cut, where the system can."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
