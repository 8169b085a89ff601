"""Refusing what cannot work before any data is read. The first part needs no torch, so a typo is answered at once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from prunelle.data.find import check_data
from prunelle.data.names import SOURCES
from prunelle.errors import ModelError, RunConflictError, SettingError, WeightsError
from prunelle.files import holds_strangers, read_sealed_json
from prunelle.models.names import Shape, check_spec
from prunelle.models.packed.magic import is_packed
from prunelle.recipes.settings import Recipe

if TYPE_CHECKING:
    from prunelle.models.open import OpenedModel


def check_words(recipe: Recipe, out: Path, data_dir: str | None, trust: bool) -> None:
    """Every name, file and folder that a recipe mentions exists and may be used; `out` is free for it. No torch.

    Raises ModelError, DataError, WeightsError, UntrustedCodeError, MissingExtraError, RunConflictError.
    """
    check_claim(recipe, out)
    for cell in recipe.cells:
        check_model_word(cell.model, cell.weights, trust)
        check_data(cell.data, data_dir)
        shape_of(cell.data, cell.input_shape)


def check_model_word(model: str, weights: str | None, trust: bool) -> None:
    """MODEL and --weights as words. Raises as check_words."""
    if is_folder(model):
        if weights is not None:
            raise SettingError(f"--weights {weights}: {model} has weights of its own; pass one of the two.")
        if not any(os.path.isfile(os.path.join(model, name)) for name in ("model.json", "model.json.next")):
            raise ModelError(f"{model}: holds no model.json; give a folder that prunelle saved a model in, or a name.")
        return
    if model and is_packed(model):
        if weights is not None:
            raise SettingError(f"--weights {weights}: {model} has weights of its own; pass one of the two.")
        return
    check_spec(model, trust)
    if weights is not None and not os.path.isfile(weights):
        raise WeightsError(f"--weights {weights}: is no file; give a .safetensors, .pth or .pt file.")


def is_folder(model: str) -> bool:
    """Whether MODEL is a folder. An empty word is not the current one; a name too long is none."""
    return bool(model) and os.path.isdir(model)


def check_claim(recipe: Recipe, out: Path) -> None:
    """Raises RunConflictError when `out` holds anything but this recipe's runs."""
    check_out(out)
    path = out / "recipe.json"
    if path.exists() and read_sealed_json(path).get("recipe") != recipe.model_dump(mode="json"):
        raise RunConflictError(
            f"{out}: holds a run of another recipe or of other settings; choose another folder with --out."
        )


def check_out(out: Path, claim: str = "recipe.json", word: str = "--out") -> None:
    """Raises RunConflictError when `out` is no folder, or one with other people's things, or cannot be written to.

    claim: the file by which a folder of ours is known. word: by which the command line names it.
    """
    check_folder(out, word)
    if holds_strangers(out, claim):
        raise RunConflictError(f"{word} {out}: is not empty and holds no {claim}; choose another folder.")


def check_folder(out: Path, word: str = "--out") -> None:
    """Raises RunConflictError when `out` is no folder, or cannot be read or written to."""
    try:
        if out.exists() and not out.is_dir():
            raise RunConflictError(f"{word} {out}: is a file; name a folder.")
        if out.is_dir():
            next(out.iterdir(), None)
        existing = nearest(out)
    except OSError as error:
        raise RunConflictError(f"{word} {out}: cannot be used ({error.strerror}); choose another folder.") from None
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise RunConflictError(f"{word} {out}: {existing} cannot be written to; choose another folder.")


def check_cut_out(out: Path, claim: str, asked: dict[str, object]) -> None:
    """Raises RunConflictError when `out` holds anything but a network that was cut just as asked for."""
    check_out(out, claim)
    path = out / claim
    if path.exists() and read_sealed_json(path).get("asked") != asked:
        raise RunConflictError(f"{out}: holds a network of other settings; choose another folder with --out.")


def nearest(out: Path) -> Path:
    """The folder itself, or the first above it that exists."""
    return next(folder for folder in (out, *out.absolute().parents) if folder.exists())


def check_device_word(device: str) -> None:
    """Raises SettingError for a word that is no device; whether the machine has it is asked later."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise SettingError(f"--device {device!r}: must be cpu, cuda or cuda:N.")


def check_fit_of_weights(recipe: Recipe, trust: bool) -> None:
    """Build every network once and load the weights it is to start from. Uses torch, reads no data.

    Raises ModelError, WeightsError, CorruptFileError.
    """
    for cell in {(c.model, c.weights, c.data): c for c in recipe.cells}.values():
        open_for(cell.model, cell.data, weights=cell.weights, input_shape=cell.input_shape, trust=trust)


def threads_pay(recipe: Recipe, trust: bool) -> bool:
    """Whether a network is large enough for several threads: below MACS_FOR_THREADS an image they wait for each other
    more than they work, on a busy machine hundreds of times. Decided by the network alone, so that a run that is
    started again does the same. Raises as check_fit_of_weights."""
    from torch import zeros

    from prunelle.measure.macs import MACS_FOR_THREADS, count_macs

    for cell in recipe.cells:
        opened = open_for(cell.model, cell.data, weights=cell.weights, input_shape=cell.input_shape, trust=trust)
        shape = shape_of(cell.data, cell.input_shape)[0] or opened.input_shape
        if shape is None or count_macs(opened.model, zeros(1, *shape)).total >= MACS_FOR_THREADS:
            return True
    return False


def open_for(
    model: str,
    data: str | None,
    *,
    weights: str | None = None,
    input_shape: Shape | None = None,
    trust: bool = False,
    seed: int = 0,
) -> OpenedModel:
    """The MODEL, refused where it does not fit what the word `data` tells of its images. Uses torch, reads no data.

    Raises as models.open.open_model.
    """
    from prunelle.models.open import open_model, outputs

    folder = is_folder(model)
    shape, classes = shape_of(data, input_shape)
    opened = open_model(
        model,
        weights=weights,
        input_shape=None if folder else shape,
        num_classes=None if folder else classes,
        trust=trust,
        seed=seed,
    )
    if shape and classes:
        given = outputs(opened.model, model, shape)
        if given != classes:
            raise ModelError(f"{model}: gives {given} outputs and {data} has {classes} classes; use a fitting one.")
    return opened


def shape_of(data: str | None, input_shape: Shape | None) -> tuple[Shape | None, int | None]:
    """(C, H, W) and classes of the images, as far as the words alone tell. Raises SettingError."""
    source = SOURCES.get(data or "")
    if source is None:
        return input_shape, None
    check_input(input_shape, source.input_shape, source.name)
    return source.input_shape, source.num_classes


def check_input(input_shape: Shape | None, images: Shape, data: str) -> None:
    """Raises SettingError when --input says otherwise than the data, whose images decide. Both are (C, H, W)."""
    if input_shape and tuple(input_shape) != tuple(images):
        given, wanted = (",".join(map(str, shape)) for shape in (input_shape, images))
        raise SettingError(f"--input {given}: {data} has images of {wanted}; leave it out.")
