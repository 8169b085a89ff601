"""The words for formats: how each is written into a folder, and how what stands there is opened again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from prunelle.errors import CorruptFileError, SettingError
from prunelle.files import read_bytes
from prunelle.ship.names import FORMATS, PRECISIONS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prunelle.data.task import Preprocessing

Run: TypeAlias = "Callable[[Tensor], Tensor]"


@dataclass(frozen=True)
class Order:
    """What is to be written. example: (1, C, H, W). calibration: (N, C, H, W) training images for what is not fp32,
    None where there are none. more: what a saved model needs besides, for packed: builder, cuts, class_names. trials:
    whether a native library's kernels are chosen by timing, or the likeliest are taken."""

    model: nn.Module
    example: Tensor
    precision: str
    calibration: Tensor | None = None
    target: str = "native"
    preprocessing: Preprocessing | None = None
    more: dict[str, Any] | None = None
    trials: bool = True

    def calibrated(self) -> Tensor:
        """The calibration images. Raises SettingError without."""
        if self.calibration is None:
            raise SettingError(f"--precision {self.precision}: is fitted to images; pass --data.")
        return self.calibration


@dataclass(frozen=True)
class Format:
    """write: an order into an empty folder. open: (folder, precision, threads, trust) -> images to outputs. runtime:
    the word for what runs it. endings: of the files that running needs. packages: which must be installed."""

    write: Callable[[Order, Path], None]
    open: Callable[[Path, str, int, bool], Run]
    runtime: str
    endings: tuple[str, ...]
    packages: tuple[str, ...] = ()


def load_format(name: str) -> Format:
    """Raises SettingError for a word that is not in `names.FORMATS`."""
    if name not in TABLE:
        raise SettingError(f"format: there is no {name!r}, the words are {', '.join(FORMATS)}.")
    return TABLE[name]


def check_precision(name: str, precision: str) -> None:
    """Raises SettingError when a format does not come in this precision."""
    if precision not in PRECISIONS[name]:
        known = " or ".join(other for other in FORMATS if precision in PRECISIONS[other])
        raise SettingError(
            f"--format {name}: comes in {' or '.join(PRECISIONS[name])}, not in {precision}; take --format {known}."
        )


def open_format(name: str, folder: Path, precision: str, threads: int, trust: bool = False) -> Run:
    """A function from CPU images (B, C, H, W) to outputs that runs the files in `folder`, native and .pt2 code
    included: whoever calls this trusts them. trust: of a packed model, allow a builder that is a user's file.

    Raises what the runtime raises.
    """
    return load_format(name).open(folder, precision, threads, trust)


def _write_native(order: Order, folder: Path) -> None:
    from prunelle.ship.native import build_native

    build_native(
        order.model,
        order.example,
        folder,
        precision=order.precision,
        target=order.target,
        calibration=order.calibration if order.precision == "fp32" else order.calibrated(),
        preprocessing=order.preprocessing,
        trials=order.trials,
    )


def _open_native(folder: Path, precision: str, threads: int, trust: bool) -> Run:
    from prunelle.ship.native import load_native

    return load_native(folder)


def _write_onnx(order: Order, folder: Path) -> None:
    from prunelle.files import atomic_write
    from prunelle.ship import onnx

    if order.precision == "int8":
        file = onnx.quantized_onnx(order.model, order.example, order.calibrated())
    else:
        file = onnx.to_onnx(order.model, order.example)
    atomic_write(folder / "model.onnx", file)


def _open_onnx(folder: Path, precision: str, threads: int, trust: bool) -> Run:
    from prunelle.ship.onnx import session

    return session(read_bytes(folder / "model.onnx"), threads)


def _write_openvino(order: Order, folder: Path) -> None:
    from prunelle.ship.openvino import write_openvino

    calibration = order.calibrated() if order.precision == "int8" else None
    write_openvino(order.model, order.example, folder, precision=order.precision, calibration=calibration)


def _open_openvino(folder: Path, precision: str, threads: int, trust: bool) -> Run:
    from prunelle.ship.openvino import open_openvino

    return open_openvino(folder, threads, precision=precision)


def _write_pt2(order: Order, folder: Path) -> None:
    from prunelle.ship.exported import write_pt2

    write_pt2(order.model, order.example, folder / "model.pt2")


def _open_pt2(folder: Path, precision: str, threads: int, trust: bool) -> Run:
    from prunelle.ship.exported import open_pt2

    return open_pt2(folder / "model.pt2", trust=True)


def _write_packed(order: Order, folder: Path) -> None:
    from prunelle.ship.packed import write_packed

    write_packed(order.model, folder / "model.prn", preprocessing=order.preprocessing, **(order.more or {}))


def _open_packed(folder: Path, precision: str, threads: int, trust: bool) -> Run:
    import torch

    from prunelle.models.open import open_model
    from prunelle.ship.eager import eager

    return eager(open_model(str(packed_in(folder)), trust=trust).model, torch.empty(0), threads)


def _open_packed_native(folder: Path, precision: str, threads: int, trust: bool) -> Run:
    """The packed file, compiled here: its weights are numbers, and the code is ours, so it needs no trust."""
    return compile_packed(folder, trust=trust)


def compile_packed(folder: Path, trust: bool = False, trials: bool = True) -> Run:
    """The native library of a packed file. trials: as in `native.build_native`. Raises CorruptFileError and as it."""
    import torch

    from prunelle.models.open import open_model
    from prunelle.ship.native_runtime import built

    opened = open_model(str(packed_in(folder)), trust=trust)
    if opened.input_shape is None:
        raise CorruptFileError(f"{folder}: does not say what images it takes; ship it anew.")
    blank = torch.zeros(1, *opened.input_shape)
    # Layers that read the image skip its background: in raw images most often 0.
    image = opened.preprocessing(blank) if opened.preprocessing else blank
    return built(opened.model, image, "fp32", trials)


def packed_in(folder: Path) -> Path:
    """The one packed file of a folder. Raises CorruptFileError."""
    files = sorted(folder.glob("model.*"))
    if len(files) != 1:
        raise CorruptFileError(f"{folder}: holds {len(files)} packed files, must hold one; ship it anew.")
    return files[0]


TABLE = {
    "native": Format(_write_native, _open_native, "native", (".so", ".dylib", ".dll", ".a", ".wasm")),
    "onnx": Format(_write_onnx, _open_onnx, "onnxruntime", (".onnx",), ("onnx", "onnxscript", "onnxruntime")),
    "openvino": Format(_write_openvino, _open_openvino, "openvino", (".xml", ".bin"), ("openvino",)),
    "pt2": Format(_write_pt2, _open_pt2, "pt2", (".pt2",)),
    "packed": Format(_write_packed, _open_packed, "eager", (".prn",)),
    "packed-native": Format(_write_packed, _open_packed_native, "native", (".prn",)),
}
