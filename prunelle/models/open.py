"""MODEL, as users write it everywhere: a name, timm:NAME, file.py:factory, a saved folder or a packed file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from prunelle.data.task import Preprocessing, Task
from prunelle.errors import ModelError, SettingError, WeightsError
from prunelle.graph.cuts import Cuts
from prunelle.models.load import build, default_shape
from prunelle.models.names import TABLE, Shape, first_line
from prunelle.models.packed.magic import is_packed
from prunelle.models.packed.model import read_packed
from prunelle.models.save import Builder, Manifest, is_saved, read_folder, rebuild
from prunelle.models.weights import fit_weights_, read_weights
from prunelle.seeds import derive


@dataclass(frozen=True)
class OpenedModel:
    """model: in eval mode. builder, cuts: what `save` needs to write it again. preprocessing: None when not known."""

    model: nn.Module
    builder: Builder | None
    cuts: Cuts
    preprocessing: Preprocessing | None
    class_names: tuple[str, ...]
    input_shape: Shape | None


def open_model(
    spec: str,
    *,
    weights: str | Path | None = None,
    input_shape: Shape | None = None,
    num_classes: int | None = None,
    trust: bool = False,
    seed: int = 0,
) -> OpenedModel:
    """Build or load the model that `spec` means.

    weights: a file for a spec that has none of its own; without it the weights are random, drawn from `seed`.
    input_shape: (C, H, W), num_classes: None keeps what the model was made for. Raises ModelError, WeightsError,
    CorruptFileError, UntrustedCodeError, MissingExtraError, SettingError.
    """
    if Path(spec).is_dir() or is_packed(spec):
        return open_saved(spec, weights, trust)
    shape = input_shape or default_shape(spec)
    classes = num_classes or (TABLE[spec].num_classes if spec in TABLE else None)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "init"))
        model = build(spec, input_shape=shape, num_classes=classes, trust=trust)
    if weights is not None:
        fit_weights_(model, read_weights(weights), str(weights))
    builder = None
    if shape is not None:
        builder = Builder(spec=spec, input_shape=list(shape), num_classes=classes or outputs(model, spec, shape))
    return OpenedModel(model.eval(), builder, Cuts(), None, (), shape)


def open_saved(path: str, weights: str | Path | None, trust: bool) -> OpenedModel:
    """A saved folder, an experiment's folder, which holds its chosen model, or a packed file."""
    if weights is not None:
        raise SettingError(f"--weights {weights}: {path} has weights of its own; pass one of the two.")
    manifest, tensors = read_saved(path)
    shape = tuple(manifest.builder.input_shape) if manifest.builder else None
    return OpenedModel(
        rebuild(path, manifest, tensors, None, trust),
        manifest.builder,
        manifest.cuts,
        manifest.preprocess(),
        tuple(manifest.class_names),
        shape,  # type: ignore[arg-type]
    )


def read_saved(path: str) -> tuple[Manifest, dict[str, Tensor]]:
    if not Path(path).is_dir():
        return read_packed(path)
    if not is_saved(path):
        raise ModelError(f"{path}: holds no model.json; give a folder that prunelle saved a model in, or a name.")
    return read_folder(path)


def outputs(model: nn.Module, spec: str, shape: Shape) -> int:
    """How many outputs the model gives for an image of `shape`. Raises ModelError when it does not run on it."""
    weight = next(model.parameters(), torch.empty(0))
    training = model.training
    try:
        with torch.no_grad():  # a forward may keep what it computes, and inference tensors cannot be trained on
            found = model.eval()(torch.zeros(1, *shape, device=weight.device, dtype=weight.dtype))
    except Exception as error:  # a network may be anybody's code
        raise ModelError(
            f"{spec}: does not run on an image of {tuple(shape)} ({first_line(error)}); give it the images it was "
            "made for, by --data or --input C,H,W."
        ) from None
    finally:
        model.train(training)
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        raise ModelError(f"{spec}: must return one tensor of shape (N, classes) for one image.")
    return found.shape[1]


def check_fits(opened: OpenedModel, spec: str, task: Task) -> None:
    """Raises ModelError or WeightsError when the model cannot do the task."""
    given = outputs(opened.model, spec, task.input_shape)
    if given != task.num_classes:
        raise ModelError(
            f"{spec}: gives {given} outputs and {task.name} has {task.num_classes} classes; use a fitting one."
        )
    if opened.preprocessing is not None and opened.preprocessing != task.preprocessing:
        raise WeightsError(
            f"{spec}: was made for images normalised by {opened.preprocessing}, {task.name} has {task.preprocessing}; "
            "use the data set it was trained on."
        )
