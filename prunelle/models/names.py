"""Which words name a model. Reads no torch, so the command line refuses a misspelt name at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from prunelle.errors import MissingExtraError, ModelError, UntrustedCodeError

Shape = tuple[int, int, int]
MEMBERS = "classwise:"
"""Begins the spec of a class-wise network: classwise:GROUPS:SPEC, such as classwise:0,1,2/3,4:resnet20."""


@dataclass(frozen=True)
class NamedModel:
    """builder: 'module:function'. input_shape: (C, H, W) and num_classes: what the builder does when told nothing."""

    builder: str
    input_shape: Shape
    num_classes: int


@dataclass(frozen=True)
class ModelSpec:
    """A spec taken apart. name: the table's name, timm's name, the path of a file, or the spec of a class-wise
    network's members; factory: only for a file; groups: only for a class-wise network."""

    kind: Literal["name", "timm", "file", "members"]
    name: str
    factory: str = ""
    groups: str = ""


def _rows(module: str, names: str, input_shape: Shape, num_classes: int) -> dict[str, NamedModel]:
    return {name: NamedModel(f"prunelle.models.{module}:{name}", input_shape, num_classes) for name in names.split()}


TABLE: Mapping[str, NamedModel] = MappingProxyType(
    _rows("lenet", "lenet_300_100 lenet5 lenet5_small", (1, 28, 28), 10)
    | _rows("alexnet", "alexnet_cifar", (3, 32, 32), 10)
    | _rows("resnet", "resnet20 resnet32 resnet44 resnet56 resnet110", (3, 32, 32), 10)
    | _rows("resnet", "resnet18 resnet50 resnet101", (3, 224, 224), 1000)
    | _rows("resnet", "resnet18_cifar resnet50_cifar resnet101_cifar", (3, 32, 32), 10)
    | _rows("vgg", "vgg16_bn_cifar vgg19_bn_cifar", (3, 32, 32), 10)
    | _rows("mobilenet", "mobilenet_v2", (3, 224, 224), 1000)
    | _rows("mobilenet", "mobilenet_v2_cifar", (3, 32, 32), 10)
    | _rows("shufflenet", "shufflenet_v2", (3, 224, 224), 1000)
)


def suggest(word: str, known: Iterable[str]) -> str:
    """The known words closest to `word`, as a piece of a sentence that may be empty.

    >>> suggest("resnet2O", ["resnet20", "lenet5"])
    ", did you mean 'resnet20'?"
    >>> suggest("something", ["resnet20", "lenet5"])
    ';'
    """
    close = difflib.get_close_matches(word.lower(), list(known), n=3, cutoff=0.6)
    return f", did you mean {' or '.join(map(repr, close))}?" if close else ";"


def first_line(error: BaseException) -> str:
    """'Type: first line of the message', for use inside a sentence.

    >>> first_line(ValueError("no\\nmore"))
    'ValueError: no'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def check_spec(spec: str, trust: bool = False) -> ModelSpec:
    """Take a model's spec apart and refuse what cannot be built, before torch is imported or any code is run.

    spec: a name of TABLE, 'timm:NAME' (the name itself is checked by timm, later), 'file.py:factory' or
    'classwise:GROUPS:SPEC'.
    trust: whether code in a user's file may be run. A saved folder is not a spec: ask for it before.
    Raises ModelError (unknown name, no such file, no factory named), MissingExtraError (no timm),
    UntrustedCodeError (a file, without trust).

    >>> check_spec("lenet5")
    ModelSpec(kind='name', name='lenet5', factory='', groups='')
    """
    if spec in TABLE:
        return ModelSpec("name", spec)
    if spec.startswith("timm:"):
        return _check_timm(spec)
    if spec.startswith(MEMBERS):
        return _check_members(spec, trust)
    path, colon, factory = spec.rpartition(":")
    if spec.endswith(".py") or (colon and path.endswith(".py")):
        return _check_file(spec, path, factory, trust)
    raise ModelError(
        f"{spec!r}: no model of this name{suggest(spec, TABLE)} known are {', '.join(TABLE)}; "
        "or pass timm:NAME, file.py:factory or a saved folder."
    )


def _check_timm(spec: str) -> ModelSpec:
    name = spec.removeprefix("timm:")
    if not name:
        raise ModelError("'timm:': names no model; pass timm:NAME, for example timm:vit_tiny_patch16_224.")
    if find_spec("timm") is None:
        raise MissingExtraError(f"{spec}: timm is not installed; pip install prunelle[vision].")
    return ModelSpec("timm", name)


def _check_members(spec: str, trust: bool) -> ModelSpec:
    groups, _, inner = spec.removeprefix(MEMBERS).partition(":")
    if not groups or not inner or inner.startswith(MEMBERS):
        raise ModelError(f"{spec}: must be {MEMBERS}GROUPS:MODEL, such as {MEMBERS}0,1,2/3,4:resnet20.")
    check_spec(inner, trust)
    return ModelSpec("members", inner, groups=groups)


def _check_file(spec: str, path: str, factory: str, trust: bool) -> ModelSpec:
    if spec.endswith(".py") or not factory.isidentifier():
        file = spec if spec.endswith(".py") else path
        raise ModelError(f"{spec}: does not name a function; pass {file}:factory, a function that returns the model.")
    if not trust:
        raise UntrustedCodeError(f"{spec}: building it runs the code in {path}; pass --trust if you trust that file.")
    if not Path(path).is_file():
        raise ModelError(f"{spec}: there is no file {path}; check the path.")
    return ModelSpec("file", path, factory)
