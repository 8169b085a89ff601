"""The runtime torch.compile: kernels that Inductor generates for one model."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType

import torch
from torch import Tensor, nn

from prunelle.errors import MissingExtraError, WorkError
from prunelle.ship.first_line import first_line
from prunelle.ship.frozen import frozen
from prunelle.ship.parity import check_parity


def compiled(model: nn.Module, example: Tensor, threads: int) -> Callable[[Tensor], Tensor]:
    """A function from images to outputs, compiled for `threads` threads; the first call has happened already.

    example: (batch, ...); another batch size compiles once more, on its first call.
    Raises MissingExtraError without a C++ compiler on a CPU, WorkError when Inductor fails, MeasurementError when
    the outputs are not those of the model.
    """
    net = frozen(model)
    program = torch.compile(_own_code(net))

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        return program(images)

    with _threads(threads):  # the generated code holds the count
        try:
            run(example)
        except Exception as error:
            if _lacks_compiler(error):
                raise MissingExtraError(
                    "runtime compile: torch.compile needs a C++ compiler and found none; install g++ or clang, "
                    "or take another runtime."
                ) from error
            raise WorkError(
                f"runtime compile: {type(model).__name__} could not be compiled ({first_line(error)}); "
                "take another runtime."
            ) from error
        check_parity("compile", run, net, example)
    return run


def _own_code(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """A call of `net` with a code object of its own.

    torch.compile counts recompilations per code object, and past 8 it runs eager with no more than a log line
    (torch 2.13): the ninth ResNet of a process would be measured uncompiled.
    """

    def forward(images: Tensor) -> Tensor:
        return net(images)

    return FunctionType(forward.__code__.replace(), forward.__globals__, closure=forward.__closure__)


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _lacks_compiler(error: BaseException) -> bool:
    return "InvalidCxxCompiler" in repr(error) or not any(map(shutil.which, ("c++", "g++", "clang++", "cl")))
