"""`prunelle ship`: a MODEL becomes the files of one format, held to the model on its test split and timed here.

OUT/...           what runs: model.onnx, model.xml and model.bin, model.pt2, the packed file or the native library
OUT/ship.json     what it is and how it was judged, sealed
OUT/report.html   the table as a page
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunelle.data.find import check_data
from prunelle.errors import DataError, MissingExtraError, ModelError
from prunelle.measure.card import count
from prunelle.models.names import Shape
from prunelle.models.open import OpenedModel, outputs
from prunelle.recipes.compare import data_of
from prunelle.recipes.measure import open_with_data
from prunelle.seeds import generator
from prunelle.ship.formats import Order
from prunelle.ship.gate import NOISE, Exam, exam_on, exam_on_noise
from prunelle.ship.images import calibration, timed_images


@dataclass(frozen=True)
class Asked:
    """What the command line asks for. precision: None is the format's own, or all of them with auto. layers: also time
    each layer of a native library."""

    model: str
    format: str
    precision: str | None = None
    target: str = "native"
    data: str | None = None
    weights: str | None = None
    input_shape: Shape | None = None
    batch: int = 1
    threads: int = 1
    seed: int = 0
    layers: bool = False

    def to_json(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        values["input_shape"] = None if self.input_shape is None else list(self.input_shape)
        return values


@dataclass(frozen=True)
class Subject:
    """A model ready to be shipped: what is written, what it is held to, and the images it is timed on.

    data: the word of the data, None where there is none. source_sha256: of the model's tensors.
    """

    opened: OpenedModel
    shape: Shape
    order: Order
    exam: Exam
    images: tuple[Tensor, ...]
    data: str | None
    num_classes: int
    class_names: tuple[str, ...]
    counts: dict[str, Any]
    source_sha256: str


def subject(asked: Asked, data_dir: str | None, trust: bool) -> Subject:
    """Open the model and its data, and compute what the model gives on the test split.

    Raises what opening either raises, ModelError where the image shape is not known.
    """
    data, note = data_for(asked, data_dir)
    opened, task = open_with_data(
        asked.model,
        data,
        data_dir,
        "cpu",
        weights=asked.weights,
        input_shape=asked.input_shape,
        trust=trust,
        seed=asked.seed,
    )
    shape = (task.input_shape if task else asked.input_shape) or opened.input_shape
    if shape is None:
        raise ModelError(f"{asked.model}: does not say what images it takes; pass --input C,H,W or --data.")
    num_classes = outputs(opened.model, asked.model, shape)
    card = count(asked.model, opened.model, shape)
    model, seed = opened.model, asked.seed
    if task is None:
        exam = dataclasses.replace(exam_on_noise(model, shape, seed), where=note)
    else:
        exam = exam_on(model, task.test, task.metric, f"test split of {data}")
    seen = None if task is None else calibration(task, seed)
    order = Order(
        model,
        torch.rand(1, *shape, generator=generator(seed, "example")) if seen is None else seen[:1],
        "fp32",
        seen,
        asked.target,
        opened.preprocessing or (task.preprocessing if task else None),
        {"builder": opened.builder, "cuts": opened.cuts, "class_names": opened.class_names},
    )
    return Subject(
        opened,
        shape,
        order,
        exam,
        timed_images(task, shape, asked.batch, seed),
        data,
        num_classes,
        opened.class_names or (task.class_names if task else ()),
        {key: getattr(card, key) for key in ("params", "nnz", "sparsity", "macs", "macs_nonzero")},
        hash_of_state(opened),
    )


def data_for(asked: Asked, data_dir: str | None) -> tuple[str | None, str]:
    """(the data asked for, or what the model was made on where that is here, else None; why there is none)."""
    if asked.data is not None:
        return asked.data, ""
    recorded = data_of(asked.model) if asked.weights is None else None
    if recorded is None:
        return None, NOISE
    try:
        check_data(recorded, data_dir)
    except (DataError, MissingExtraError):
        return None, f"{NOISE} ({recorded}, on which the model was made, is not here)"
    return recorded, ""


def hash_of_state(opened: OpenedModel) -> str:
    """SHA-256, in hex, of the names and bytes of every tensor."""
    digest = hashlib.sha256()
    for name, value in opened.model.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
