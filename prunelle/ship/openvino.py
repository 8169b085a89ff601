"""The runtime OpenVINO: Intel's, the fastest dense fp32 on many CPUs."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.errors import MissingExtraError, WorkError
from prunelle.ship.first_line import first_line
from prunelle.ship.frozen import frozen, refuse_gpu, two_or_more
from prunelle.ship.parity import check_parity


def openvino(model: nn.Module, example: Tensor, threads: int) -> Callable[[Tensor], Tensor]:
    """A function from CPU images to outputs that runs the model in OpenVINO on `threads` threads.

    Precision is fp32, said aloud: on a CPU with AMX OpenVINO would take bf16 by itself.
    example: (batch, ...); each other batch size is compiled on its first call, with its shape fixed, which is 5 %
    faster than one program for all sizes (ResNet-20, batch 1).
    Raises MissingExtraError without openvino, SettingError on a GPU, WorkError when the conversion fails,
    MeasurementError when the outputs are not those of the model.
    """
    refuse_gpu("openvino", example)
    try:
        import openvino as ov
    except ImportError as error:
        raise MissingExtraError("openvino is not installed; pip install 'prunelle[openvino]'.") from error
    net, core = frozen(model), ov.Core()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batch = torch.export.Dim("batch")
            traced = torch.export.export(net, (two_or_more(example),), dynamic_shapes=({0: batch},))
            network = ov.convert_model(traced)
    except Exception as error:
        raise WorkError(
            f"openvino: {type(model).__name__} could not be converted ({first_line(error)}); take another runtime."
        ) from error

    @cache
    def program(shape: torch.Size) -> Any:
        network.reshape(list(shape))
        return core.compile_model(network, "CPU", _settings(threads))

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(program(images.shape)([images.numpy()], share_inputs=True)[0])

    check_parity("openvino", run, net, example, num_more=1)
    return run


def _settings(threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
