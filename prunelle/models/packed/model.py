"""A model as a packed file, and back: what a saved folder holds, in one small file."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from prunelle.data.task import Preprocessing
from prunelle.errors import InputError, ModelError
from prunelle.files import read_bytes
from prunelle.graph.cuts import Cuts
from prunelle.models.packed.container import decode, encode
from prunelle.models.packing import aliases_of, with_aliases
from prunelle.models.save import Builder, Manifest, checked_manifest, rebuild, rehearse

ELSEWHERE: dict[str, dict] = {"packed": {}, "files": {}}
"""Fields of model.json that speak of a folder's files."""


def to_bytes(
    model: nn.Module,
    *,
    builder: Builder | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: tuple[str, ...] = (),
    cuts: Cuts | None = None,
) -> bytes:
    """The packed file of `model`; arguments as in models.save.save. Raises ModelError for a state that is no tensor."""
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelError(f"{name}: is a {type(value).__name__} in the model's state, only tensors can be packed.")
    aliases = aliases_of(state)
    about = Manifest(
        schema_version=1,
        builder=builder,
        preprocessing=preprocessing.to_json() if preprocessing else None,
        class_names=list(class_names),
        cuts=cuts or Cuts(),
        aliases=aliases,
        **ELSEWHERE,
    )
    kept = {name: tensor.detach() for name, tensor in state.items() if name not in aliases}
    return encode(kept, about.model_dump(mode="json", exclude=set(ELSEWHERE)))


def read_packed(path: str | Path) -> tuple[Manifest, dict[str, Tensor]]:
    """(manifest, tensors by name), both hashes checked; shapes are held against the builder's module before anything
    is decoded. Raises CorruptFileError, and as `load` for a module that cannot be built or filled."""
    path = Path(path)

    def check(about: dict, outlines: dict[str, Tensor]) -> None:
        found = checked_manifest(about | ELSEWHERE, path)
        if found.builder is not None and ".py:" not in found.builder.spec:
            rehearse(path, found.builder, found.cuts, with_aliases(outlines, found.aliases))

    try:
        about, tensors = decode(read_bytes(path), str(path), check)
        manifest = checked_manifest(about | ELSEWHERE, path)
        return manifest, with_aliases(tensors, manifest.aliases)
    except InputError as error:
        named = str(error).startswith(str(path))
        raise error if named else type(error)(f"{path}: {error}") from None


def load_packed(path: str | Path, model: nn.Module | None = None, *, trust: bool = False) -> nn.Module:
    """The model of a packed file, bit for bit, in eval mode; arguments and errors as in models.save.load."""
    manifest, tensors = read_packed(path)
    return rebuild(path, manifest, tensors, model, trust)
