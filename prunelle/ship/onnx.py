"""ONNX: the file that is shipped, and ONNX Runtime, which runs it."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.errors import MissingExtraError, WorkError
from prunelle.ship.first_line import first_line
from prunelle.ship.frozen import frozen, refuse_gpu, two_or_more
from prunelle.ship.parity import check_parity

INPUT, OUTPUT = "images", "outputs"


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
    net, batch = frozen(model), torch.export.Dim("batch")
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT]}
    try:
        with _silence():
            program = torch.onnx.export(
                net, (two_or_more(example),), dynamo=True, dynamic_shapes=({0: batch},), verbose=False, **names
            )
            assert program is not None
            proto = program.model_proto
            for owner in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
                del owner.metadata_props[:]
            return proto.SerializeToString()
    except Exception as error:
        raise WorkError(
            f"onnx: {type(model).__name__} could not be exported ({first_line(error)}); take another runtime."
        ) from error


def onnxruntime(model: nn.Module, example: Tensor, threads: int) -> Callable[[Tensor], Tensor]:
    """A function from CPU images to outputs that runs the exported model in ONNX Runtime.

    example: (batch, ...); any batch size may follow.
    Raises as `to_onnx`, MissingExtraError without onnxruntime, MeasurementError when the outputs are not the model's.
    """
    run = session(to_onnx(model, example), threads)
    check_parity("onnxruntime", run, frozen(model), example, num_more=1)
    return run


def session(file: bytes, threads: int) -> Callable[[Tensor], Tensor]:
    """A function from images to the first output of an ONNX file, on `threads` threads of the CPU."""
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
        return torch.from_numpy(program.run(None, {name: images.numpy()})[0])

    return run


def _missing(name: str) -> MissingExtraError:
    return MissingExtraError(f"{name} is not installed; pip install 'prunelle[onnx]'.")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's progress, advice and deprecations off the user's screen; errors still come through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
