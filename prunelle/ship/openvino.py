"""The runtime OpenVINO: Intel's, the fastest dense network on many CPUs; and the pair of files that it reads."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.errors import CorruptFileError, MissingExtraError, SettingError, WorkError
from prunelle.ship.first_line import first_line
from prunelle.ship.frozen import frozen, refuse_gpu, two_or_more
from prunelle.ship.parity import check_parity
from prunelle.ship.quiet import private, quiet

XML, BIN = "model.xml", "model.bin"
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What OpenVINO is told to compute in. It is always told: on a CPU with AMX it would take bf16 by itself. Of an int8
network the hint is for the few operators that were left in float."""


def openvino(
    model: nn.Module, example: Tensor, threads: int, precision: str = "fp32", calibration: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    """A function from CPU images to outputs that runs the model in OpenVINO on `threads` threads.

    example: (batch, ...); any batch size may follow, see `program`. precision, calibration: see `to_openvino`.
    Raises as `to_openvino`; MeasurementError when the outputs in fp32 are not those of the model.
    """
    run = program(to_openvino(model, example, precision, calibration), threads, precision)
    if precision == "fp32":
        check_parity("openvino", run, frozen(model), example, num_more=1)
    return run


def to_openvino(model: nn.Module, example: Tensor, precision: str = "fp32", calibration: Tensor | None = None) -> Any:
    """The model as an openvino.Model whose batch is free, batch norm folded into the weights before it.

    example: (batch, ...) on the CPU. precision: a word of HINTS; int8 is fitted to the calibration images (N, ...), see
    `nncf_int8.quantized`. Raises MissingExtraError without openvino or, for int8, nncf; SettingError on a GPU or for
    another precision; WorkError when the conversion fails.
    """
    refuse_gpu("openvino", example)
    check_precision(precision)
    if precision == "int8" and calibration is None:
        raise SettingError("openvino: int8 is fitted to images; pass calibration images.")
    ov = _library()
    # A model whose weights lie channels_last would be exported with permuted strides.
    net = frozen(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    try:
        with private(), quiet():
            batch = torch.export.Dim("batch")
            traced = torch.export.export(net, (two_or_more(example).contiguous(),), dynamic_shapes=({0: batch},))
            network = ov.convert_model(traced)
    except Exception as error:
        raise WorkError(
            f"openvino: {type(model).__name__} could not be converted ({first_line(error)}); take another runtime."
        ) from error
    if precision == "int8":
        from prunelle.ship.nncf_int8 import quantized

        assert calibration is not None
        return quantized(network, calibration)
    return network


def program(network: Any, threads: int, precision: str = "fp32") -> Callable[[Tensor], Tensor]:
    """A function from CPU images of any layout to the first output of an openvino.Model.

    Each batch size is compiled on its first call, with its shape fixed, which is 5 % faster than one program for all
    sizes (ResNet-20, batch 1).
    """
    check_precision(precision)
    core = _library().Core()
    settings = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }

    @functools.cache
    def compiled(shape: torch.Size) -> Any:
        fixed = network.clone()  # shares the weights
        fixed.reshape(list(shape))
        return core.compile_model(fixed, "CPU", settings)

    def run(images: Tensor) -> Tensor:
        # share_inputs reads the memory as it lies, whatever the strides say.
        return torch.from_numpy(compiled(images.shape)([images.contiguous().numpy()], share_inputs=True)[0])

    return run


def write_openvino(
    model: nn.Module, example: Tensor, folder: Path, precision: str = "fp32", calibration: Tensor | None = None
) -> None:
    """Write model.xml and model.bin into a folder that exists. For bf16 the weights are kept as float16, for int8 as
    int8 with a float scale a channel. Raises as `to_openvino`."""
    network = to_openvino(model, example, precision, calibration)
    with quiet():
        _library().save_model(network, folder / XML, compress_to_fp16=precision == "bf16")
    text = (folder / XML).read_bytes()
    (folder / XML).write_bytes(re.sub(rb">\s+<", b"><", text))  # a sixth of it is indentation


def open_openvino(folder: Path, threads: int, precision: str = "fp32") -> Callable[[Tensor], Tensor]:
    """`program` of the files in a folder. precision: the one that they were written for.

    Raises MissingExtraError without openvino, SettingError for another precision, CorruptFileError.
    """
    check_precision(precision)
    core = _library().Core()
    try:
        network = core.read_model(folder / XML, folder / BIN)
    except Exception as error:
        raise CorruptFileError(f"{folder / XML}: cannot be read ({first_line(error)}); ship it anew.") from error
    return program(network, threads, precision)


def check_precision(precision: str) -> None:
    """Raises SettingError for a word that is not in HINTS."""
    if precision not in HINTS:
        raise SettingError(f"openvino: there is no precision {precision!r}, the words are {', '.join(HINTS)}.")


def _library() -> Any:
    try:
        with private():
            import openvino as ov
    except ImportError as error:
        raise MissingExtraError("openvino is not installed; pip install 'prunelle[openvino]'.") from error
    return ov
