"""What `prunelle bench` times: a MODEL or something shipped, each with an optional @runtime. The first part needs no
torch, so a typo is answered at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunelle.errors import ModelError, SettingError
from prunelle.models.names import Shape
from prunelle.recipes.check import check_model_word, is_folder
from prunelle.recipes.complaint import meant
from prunelle.ship.names import FITTED, RUNTIMES

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "ship.json"
ENDINGS = (".onnx", ".xml", ".bin", ".pt2", ".so", ".dylib", ".dll", ".c", ".h", ".json")


@dataclass(frozen=True)
class Word:
    """A word of the command line taken apart. name: as it was typed. path: without the runtime. shipped: the folder
    that holds ship.json, None for a MODEL or a bare .onnx."""

    name: str
    path: str
    runtime: str | None
    shipped: str | None

    @property
    def bare(self) -> bool:
        """Whether it is an .onnx file on its own."""
        return self.shipped is None and self.path.endswith(".onnx")


@dataclass(frozen=True)
class How:
    """How words are opened. fit: images for runtimes that are fitted to some, None where none is named."""

    batch: int = 1
    threads: int = 1
    seed: int = 0
    trust: bool = False
    fit: Tensor | None = None


@dataclass(frozen=True)
class Artefact:
    """Something that runs. shape: (C, H, W). data: the word of the data it was made on, None where not known."""

    name: str
    runtime: str
    run: Callable[[Tensor], Tensor]
    size_bytes: int | None
    shape: Shape
    num_classes: int
    data: str | None = None
    precision: str = "fp32"


def word_of(name: str, trust: bool = False) -> Word:
    """Take a word apart, and refuse what cannot be opened. No torch.

    Raises SettingError for a runtime that is none, ModelError, UntrustedCodeError as `recipes.check.check_model_word`.
    """
    path, at, runtime = name.rpartition("@")
    if not at or (os.path.exists(name) and runtime not in RUNTIMES):
        path, runtime = name, ""
    elif runtime not in RUNTIMES:
        raise SettingError(
            f"{name}: there is no runtime {runtime!r}{meant(runtime, RUNTIMES)}; the words are {', '.join(RUNTIMES)}."
        )
    shipped = shipped_folder(path)
    word = Word(name, path, runtime or None, shipped)
    if shipped is None and not word.bare:
        check_model_word(path, None, trust)
    elif word.bare and not os.path.isfile(path):
        raise ModelError(f"{path}: there is no such file; check the path.")
    elif word.bare and runtime not in ("", "onnxruntime"):
        raise SettingError(f"{name}: an .onnx file runs in onnxruntime; leave @{runtime} out.")
    return word


def shipped_folder(path: str) -> str | None:
    """The folder of ship.json when `path` is that folder or a file in it, else None. A packed file is a MODEL."""
    if is_folder(path):
        return path if os.path.isfile(os.path.join(path, MANIFEST)) else None
    folder = os.path.dirname(path) or "."
    beside = os.path.isfile(path) and os.path.isfile(os.path.join(folder, MANIFEST))
    return folder if beside and path.endswith(ENDINGS) else None


def fixed_shape(word: Word, trust: bool) -> tuple[Shape, int] | None:
    """(image shape, classes) of what cannot take other ones; None for a name, which is built to fit.

    Raises as `open_artefact`.
    """
    from prunelle.ship.shipped import read_shipped

    if word.shipped is not None:
        found = read_shipped(word.shipped)
        return found.shape, found.num_classes
    if os.path.exists(word.path) and not word.bare:
        from prunelle.models.open import open_model, outputs

        opened = open_model(word.path, trust=trust)
        if opened.input_shape is None:
            return None
        return opened.input_shape, outputs(opened.model, word.path, opened.input_shape)
    return None


def open_artefact(word: Word, shape: Shape | None, num_classes: int | None, how: How) -> Artefact:
    """Open a word for images of `shape`, None where only the model itself knows it.

    Raises what opening it raises, SettingError for a runtime that a shipped file does not run in, ModelError where the
    shape is not known or is another.
    """
    if word.shipped is not None:
        return open_shipped_word(word, how.threads, how.trust)
    if word.bare:
        return open_onnx(word, shape, how.threads)
    return open_named(word, shape, num_classes, how)


def open_shipped_word(word: Word, threads: int, trust: bool) -> Artefact:
    from prunelle.ship.shipped import open_shipped

    assert word.shipped is not None
    run, found = open_shipped(word.shipped, threads, trust)
    if word.runtime not in (None, found.runtime):
        raise SettingError(f"{word.name}: was shipped for {found.runtime}; leave @{word.runtime} out.")
    return Artefact(
        word.name,
        found.runtime,
        run,
        found.size_bytes,
        found.shape,
        found.num_classes,
        found.data,
        found.precision,
    )


def open_onnx(word: Word, shape: Shape | None, threads: int) -> Artefact:
    """An .onnx file that nothing describes, on images of `shape`."""
    import torch

    from prunelle.files import read_bytes
    from prunelle.ship.first_line import first_line
    from prunelle.ship.onnx import session

    if shape is None:
        raise ModelError(f"{word.path}: nothing says what images it takes; pass --input C,H,W.")
    try:
        run = session(read_bytes(Path(word.path)), threads)
        classes = run(torch.zeros(1, *shape)).shape[1]
    except Exception as error:
        raise ModelError(f"{word.path}: does not run on an image of {shape} ({first_line(error)}).") from error
    return Artefact(word.name, "onnxruntime", run, os.stat(word.path).st_size, shape, classes)


def open_named(word: Word, shape: Shape | None, num_classes: int | None, how: How) -> Artefact:
    """A MODEL in a runtime, eager where none is named."""
    import torch

    from prunelle.models.open import open_model, outputs
    from prunelle.models.save import is_saved, size_bytes
    from prunelle.recipes.compare import data_of
    from prunelle.ship.runtimes import load_runtime

    saved = os.path.exists(word.path)
    opened = open_model(
        word.path,
        input_shape=None if saved else shape,
        num_classes=None if saved else num_classes,
        trust=how.trust,
        seed=how.seed,
    )
    own = opened.input_shape or shape
    if own is None:
        raise ModelError(f"{word.path}: does not say what images it takes; pass --input C,H,W.")
    runtime = word.runtime or "eager"
    images = torch.rand(how.batch, *own, generator=torch.Generator().manual_seed(how.seed))
    if runtime in FITTED:
        assert how.fit is not None
        images = how.fit
    if tuple(images.shape[1:]) != tuple(own):
        raise ModelError(f"{word.name}: takes images of {tuple(own)} where the data's are {tuple(images.shape[1:])}.")
    run = load_runtime(runtime)(opened.model, images, how.threads)
    size = getattr(run, "size_bytes", None)  # of what the runtime made, where that is a file that could be shipped
    if size is None and is_folder(word.path) and is_saved(word.path):
        size = size_bytes(word.path)
    elif size is None and os.path.isfile(word.path):
        size = os.stat(word.path).st_size
    data = data_of(word.path) if is_folder(word.path) else None
    precision = "int16" if runtime in FITTED else "fp32"
    return Artefact(word.name, runtime, run, size, own, outputs(opened.model, word.path, own), data, precision)
