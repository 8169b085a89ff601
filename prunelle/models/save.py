"""A model as a folder: model.json (how to rebuild it, sealed) and model.safetensors (its weights). No pickle.

Both are written under a `.next` name first and renamed last, weights before JSON. A kill between the two renames
leaves weights that only model.json.next describes; reading takes whichever JSON names the weights' SHA-256.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor, nn

from prunelle.data.task import Preprocessing
from prunelle.errors import CorruptFileError, ModelError, SettingError, WeightsError
from prunelle.files import (
    atomic_write,
    disk_error,
    make_folder,
    read_bytes,
    read_sealed_json,
    sha256,
    sync_folder,
    write_sealed_json,
)
from prunelle.graph.cuts import Cuts, replay_
from prunelle.models.load import build
from prunelle.models.packing import pack, unpack

WEIGHTS, MANIFEST = "model.safetensors", "model.json"
LARGEST_DENSE = 2**31
Side = Annotated[int, Field(ge=1, le=2**20)]
Length = Annotated[int, Field(ge=1, le=2**48)]


class Builder(BaseModel):
    """How to make the dense module: a spec of models.load.build and its arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    spec: str
    input_shape: list[Side] = Field(min_length=3, max_length=3)
    num_classes: Annotated[int, Field(ge=1, le=2**24)]

    def make(self, trust: bool = False) -> nn.Module:
        """A dense module with random weights; the global random state is left as it was."""
        channels, height, width = self.input_shape
        with torch.random.fork_rng(devices=[]):
            return build(self.spec, input_shape=(channels, height, width), num_classes=self.num_classes, trust=trust)


class Manifest(BaseModel):
    """model.json. builder: None when the user brings the module. packed: shapes of the tensors stored as bits."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    schema_version: Literal[1]
    builder: Builder | None
    preprocessing: dict | None
    class_names: list[str]
    cuts: Cuts
    packed: dict[str, list[Length]]
    aliases: dict[str, str]
    files: dict[str, str]

    def preprocess(self) -> Preprocessing | None:
        return None if self.preprocessing is None else Preprocessing.from_json(self.preprocessing)


def save(
    model: nn.Module,
    folder: str | Path,
    *,
    builder: Builder | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: tuple[str, ...] = (),
    cuts: Cuts | None = None,
) -> None:
    """Write `model` to `folder`, so that `load(folder)` gives it back bit for bit.

    builder: how to make the dense module; None when whoever loads brings it. cuts: how `model` differs in shape from
    what the builder makes. A model that stands there already is replaced in one go. Raises DiskError, ModelError for a
    state that is no tensor.
    """
    folder = Path(folder)
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelError(f"{name}: is a {type(value).__name__} in the model's state, only tensors can be saved.")
    stored, packed, aliases = pack(state)
    weights = write_tensors(stored)
    manifest = Manifest(
        schema_version=1,
        builder=builder,
        preprocessing=preprocessing.to_json() if preprocessing else None,
        class_names=list(class_names),
        cuts=cuts or Cuts(),
        packed=packed,
        aliases=aliases,
        files={WEIGHTS: sha256(weights)},
    )
    make_room(folder)
    atomic_write(folder / f"{WEIGHTS}.next", weights)
    write_sealed_json(folder / f"{MANIFEST}.next", manifest.model_dump(mode="json"))
    put_in_place(folder)


def make_room(folder: Path) -> None:
    """Make the folder, and make its `.next` names free to be written over. Raises DiskError.

    After a kill between the two renames model.json.next describes the weights that stand: it gets its final name.
    """
    make_folder(folder)
    half_done = folder / f"{MANIFEST}.next"
    if half_done.is_file() and (folder / WEIGHTS).is_file():
        try:
            if standing(folder, read_bytes(folder / WEIGHTS))[0] == half_done:
                os.replace(half_done, folder / MANIFEST)
        except CorruptFileError:
            pass  # nothing readable stands there
        except OSError as error:
            raise disk_error(folder, error) from None


def put_in_place(folder: Path) -> None:
    """Rename the two `.next` files over the model that stands there. Raises DiskError."""
    try:
        for name in (WEIGHTS, MANIFEST):
            os.replace(folder / f"{name}.next", folder / name)
        sync_folder(folder)
    except OSError as error:
        raise disk_error(folder, error) from None


def copy_saved(source: Path, target: Path) -> None:
    """Put the very bytes of a saved model into another folder, replacing a model there. Raises CorruptFileError."""
    read_folder(source)
    weights = read_bytes(source / WEIGHTS)
    manifest = read_bytes(standing(source, weights)[0])
    make_room(target)
    atomic_write(target / f"{WEIGHTS}.next", weights)
    atomic_write(target / f"{MANIFEST}.next", manifest)
    put_in_place(target)


def is_saved(folder: str | Path) -> bool:
    """Whether a saved model stands in `folder`."""
    return any((Path(folder) / name).is_file() for name in (MANIFEST, f"{MANIFEST}.next"))


def size_bytes(folder: str | Path) -> int:
    """Bytes on disk of the saved model's two files, or of a packed file. Raises CorruptFileError."""
    if Path(folder).is_file():
        return Path(folder).stat().st_size
    weights = read_bytes(Path(folder) / WEIGHTS)
    return len(weights) + standing(Path(folder), weights)[0].stat().st_size


def read_folder(folder: str | Path) -> tuple[Manifest, dict[str, Tensor]]:
    """(manifest, tensors by name) of a saved model, hashes checked. Raises CorruptFileError."""
    folder = Path(folder)
    if not is_saved(folder):
        raise CorruptFileError(f"{folder}: holds no {MANIFEST}; give a folder that prunelle saved a model in.")
    raw = read_bytes(folder / WEIGHTS)
    found = standing(folder, raw)[1]
    try:
        return found, unpack(read_tensors(raw), found.packed, found.aliases)
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise CorruptFileError(f"{folder / WEIGHTS}: cannot be read as safetensors ({error}).") from None


def standing(folder: Path, weights: bytes) -> tuple[Path, Manifest]:
    """(path, content) of the JSON that describes these weights: model.json, or the one that a kill kept from getting
    that name. Raises CorruptFileError."""
    problem = None
    for path in (folder / MANIFEST, folder / f"{MANIFEST}.next"):
        if path.is_file():
            try:
                manifest = read_manifest_file(path)
                if manifest.files == {WEIGHTS: sha256(weights)}:
                    return path, manifest
            except CorruptFileError as error:
                problem = problem or error
    raise problem or CorruptFileError(
        f"{folder / WEIGHTS}: does not match the SHA-256 in {MANIFEST}; take a fresh copy of the folder."
    )


def read_manifest_file(path: Path) -> Manifest:
    """model.json, its seal and every field checked. Raises CorruptFileError."""
    return checked_manifest(read_sealed_json(path), path)


def checked_manifest(values: dict, path: Path) -> Manifest:
    """Every field checked. path: named in errors. Raises CorruptFileError."""
    try:
        manifest = Manifest.model_validate(values)
        manifest.preprocess()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CorruptFileError(f"{path}: {place}: {first['msg']}; it was not written by this version.") from None
    except SettingError as error:
        raise CorruptFileError(f"{path}: {error}") from None
    return manifest


def load(folder: str | Path, model: nn.Module | None = None, *, trust: bool = False) -> nn.Module:
    """The model that was saved in `folder`, bit for bit, in eval mode.

    model: the user's own dense module, needed when no builder was saved; it is cut and filled in place, and takes the
    number types of the file. trust: allow a builder that is a user's file, which is code. Raises CorruptFileError,
    UntrustedCodeError, ModelError, WeightsError, ShapeError.
    """
    manifest, tensors = read_folder(folder)
    return rebuild(folder, manifest, tensors, model, trust)


def rebuild(
    folder: str | Path, manifest: Manifest, tensors: dict[str, Tensor], model: nn.Module | None, trust: bool
) -> nn.Module:
    """The model of a manifest and its tensors; otherwise as `load`."""
    if model is None:
        if manifest.builder is None:
            raise ModelError(f"{folder}: was saved from a module of yours; pass that module: load(folder, model=...).")
        if ".py:" not in manifest.builder.spec:
            rehearse(folder, manifest.builder, manifest.cuts, tensors)
        model = manifest.builder.make(trust)
    replay_(model, manifest.cuts)
    check_fit(folder, model, tensors)
    fill_(model, tensors)
    return model.eval()


def fill_(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give the model these values in the types they come in; load_state_dict alone would round them to its own."""
    for name, own in (*model.named_parameters(), *model.named_buffers()):
        if name in tensors and own.dtype != tensors[name].dtype:
            own.data = own.data.to(tensors[name].dtype)
    model.load_state_dict(tensors)


def rehearse(folder: str | Path, builder: Builder, cuts: Cuts, tensors: dict[str, Tensor]) -> None:
    """Build without memory first, so that a hostile size is refused before anything is allocated."""
    try:
        with torch.device("meta"):
            dense = builder.make()
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise CorruptFileError(f"{folder}: its builder cannot be built ({first}); take a fresh copy.") from None
    if sum(p.numel() for p in dense.parameters()) > LARGEST_DENSE:
        raise CorruptFileError(f"{folder}: its builder makes over {LARGEST_DENSE} parameters; that is refused.")
    replay_(dense, cuts)
    check_fit(folder, dense, tensors)


def check_fit(folder: str | Path, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Raises WeightsError when names or shapes differ, or one side is float and the other is not."""
    state = model.state_dict()
    wanted = {name: tuple(t.shape) for name, t in state.items()}
    given = {name: tuple(t.shape) for name, t in tensors.items()}
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            raise WeightsError(
                f"{folder}: {name} is {given.get(name, 'absent')} in the file and {wanted.get(name, 'absent')} in the "
                "module; give the module that was saved."
            )
        if state[name].is_floating_point() != tensors[name].is_floating_point():
            raise WeightsError(
                f"{folder}: {name} is {tensors[name].dtype} in the file and {state[name].dtype} in the module; give "
                "the module that was saved."
            )
