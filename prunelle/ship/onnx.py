"""ONNX: the file that is shipped, and ONNX Runtime, which runs it."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.errors import MissingExtraError, SettingError, WorkError
from prunelle.ship.first_line import first_line
from prunelle.ship.frozen import frozen, refuse_gpu, two_or_more
from prunelle.ship.onnx_lean import lean_
from prunelle.ship.parity import check_parity
from prunelle.ship.quiet import quiet

INPUT, OUTPUT = "images", "outputs"
CALIBRATION_BATCH = 16
"""Images whose activations, all layers' at once, are held in memory while calibrating."""


def to_onnx(model: nn.Module, example: Tensor) -> bytes:
    """The bytes of an ONNX file of the model, weights inside; write them out and their number is the size shipped.

    example: (batch, ...) on the CPU. The first axis of the file's input `images` and output `outputs` is free.
    Stack traces that the exporter puts beside each operator are left out: they hold the paths of this machine.
    Raises MissingExtraError without onnx and onnxscript, SettingError on a GPU, WorkError when the export fails.
    """
    refuse_gpu("onnxruntime", example)
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise _missing("onnx or onnxscript") from error
    # A model whose weights lie channels_last would be exported with permuted strides.
    net = frozen(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    batch = torch.export.Dim("batch")
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT]}
    try:
        with quiet():
            program = torch.onnx.export(
                net,
                (two_or_more(example).contiguous(),),
                dynamo=True,
                dynamic_shapes=({0: batch},),
                verbose=False,
                **names,
            )
            assert program is not None
            proto = program.model_proto
            del proto.graph.metadata_props[:]
            for owner in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
                del owner.metadata_props[:]
            return proto.SerializeToString()
    except Exception as error:
        raise WorkError(
            f"onnx: {type(model).__name__} could not be exported ({first_line(error)}); take another runtime."
        ) from error


def quantized_onnx(model: nn.Module, example: Tensor, calibration: Tensor) -> bytes:
    """The bytes of an ONNX file in int8: weights int8, symmetric, with a scale for each output channel; activations
    uint8, in ranges that hold 99.999 % of what the calibration images gave; Q and DQ nodes between (QDQ).

    example: as `to_onnx`. calibration: (N, ...) preprocessed training images; 300 to 512 do. Float weights are not
    kept beside; biases stay float32. ONNX Runtime multiplies uint8 by int8 2.7 times as fast as int8 by int8
    (ResNet-20, VNNI); on a CPU with AVX2 and no VNNI pairs of products may saturate, which the parity gate would show.
    Raises as `to_onnx`, MissingExtraError without onnxruntime, SettingError for no images, WorkError.
    """
    if not len(calibration):
        raise SettingError("onnx: int8 is fitted to images and there are none; pass some hundred.")
    file = to_onnx(model, example)
    try:
        import onnx
        from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    except ImportError as error:
        raise _missing("onnxruntime") from error
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            path = Path(folder) / "int8.onnx"
            quantize_static(
                onnx.load_from_string(file),
                path,
                _Batches(calibration),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={"WeightSymmetric": True, "QuantizeBias": False, "CalibStridedMinMax": 1},
            )
            proto = onnx.load(path)
    except Exception as error:
        raise WorkError(
            f"onnx: {type(model).__name__} could not be quantized ({first_line(error)}); take another precision."
        ) from error
    lean_(proto)
    return proto.SerializeToString()


def onnxruntime(model: nn.Module, example: Tensor, threads: int) -> Callable[[Tensor], Tensor]:
    """A function from CPU images to outputs that runs the exported model in ONNX Runtime.

    example: (batch, ...); any batch size may follow.
    Raises as `to_onnx`, MissingExtraError without onnxruntime, MeasurementError when the outputs are not the model's.
    """
    run = session(to_onnx(model, example), threads)
    check_parity("onnxruntime", run, frozen(model), example, num_more=1)
    return run


def session(file: bytes, threads: int) -> Callable[[Tensor], Tensor]:
    """A function from images of any layout to the first output of an ONNX file, on `threads` threads of the CPU."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise _missing("onnxruntime") from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    program = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = program.get_inputs()[0].name

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(program.run(None, {name: images.contiguous().numpy()})[0])

    return run


class _Batches:
    """Calibration images as ONNX Runtime asks for them: batches [start, end), one dict after another, then None."""

    def __init__(self, images: Tensor) -> None:
        self.batches = images.cpu().contiguous().split(CALIBRATION_BATCH)

    def __len__(self) -> int:
        return len(self.batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.left = iter(self.batches[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self.left, None)
        return None if batch is None else {INPUT: batch.numpy()}


def _missing(name: str) -> MissingExtraError:
    return MissingExtraError(f"{name} is not installed; pip install 'prunelle[onnx]'.")
