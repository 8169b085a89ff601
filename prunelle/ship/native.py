"""The native library: one C file of a network, compiled for a machine, run from Python or from C.

A folder holds NAME.c, NAME.h, main.c, the library NAME.so (or .wasm) and native.json. Loading runs what it holds, so
whoever asks for it trusts it.
"""

from __future__ import annotations

import copy
import ctypes
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, float32, nn
from torch.nn.modules.module import _global_forward_hooks as EVERY_HOOK
from torch.nn.modules.module import _global_forward_pre_hooks as EVERY_PRE_HOOK

from prunelle.data.task import Preprocessing
from prunelle.errors import CorruptFileError, SettingError, ShapeError, UntrustedCodeError, WorkError
from prunelle.files import sha256
from prunelle.ship.c_example import header, main_c, self_test
from prunelle.ship.c_plan import Plan, plan_c
from prunelle.ship.c_source import layer_function, run_function, write_c
from prunelle.ship.compiler import Target, compile_c, native_macros, runs_here, target_of
from prunelle.ship.kernel_trials import aligned, choose_kernels
from prunelle.ship.native_folder import describe, read_record, write_folder
from prunelle.ship.processor import needs_of, refuse_processor


def build_native(
    model: nn.Module,
    example: Tensor,
    folder: str | Path,
    *,
    name: str = "net",
    precision: str = "fp32",
    target: str = "native",
    calibration: Tensor | None = None,
    preprocessing: Preprocessing | None = None,
    trials: bool = True,
) -> None:
    """Write a network as C and as a library into a folder.

    example: (batch, channels, height, width) images as the model reads them; the kernels are timed on the first, so a
    real one gives the better choice. precision: fp32, or int16 (16-bit fixed point), which needs `calibration`, (n,
    channels, height, width) images. target: `native`, where each layer's kernel is chosen by timing, or a key of
    `compiler.TARGETS`, where it is the likeliest, as it is without `trials`, which take most of the time.
    Raises ModelError for operators without a rule, WeightsError for weights that are not finite, SettingError for
    unknown words and int16 without calibration, MissingExtraError without a compiler, WorkError when that fails.
    """
    if not name.isidentifier():
        raise SettingError(f"native: the name {name!r} is no C identifier; take letters, digits and underscores.")
    machine = target_of(target)
    image = calibration[:1] if calibration is not None else example[:1]
    plan = plan_c(model, image, machine.vector_bytes, machine.registers, precision, calibration)
    choices = choose_kernels(plan, machine, image) if trials and target == "native" else {}
    text = write_c(plan, name, choices, lambda n, p: run_function(n, p) + layer_function(n, p))
    # What int16 gives is told by the C text itself, on this machine where the target is another: integers are alike.
    here = machine if runs_here(target) else target_of("native")
    reference = model if precision == "fp32" else library_module(text, name, plan, here)
    test = self_test(name, plan, reference, tolerance=1e-3 if precision == "fp32" else 1e-2)
    source = f'#include "{name}.h"\n{text}\n{test}'
    head = header(name, plan, preprocessing, precision)
    exports = (f"{name}_run", f"{name}_layer", f"{name}_self_test")
    made = compile_c(head + text + test, machine, exports)
    record = {
        "name": name, "precision": precision, "target": target, "vectors": machine.vector_bytes,
        "needs": needs_of(target, native_macros() if target == "native" else ""),
        "workspace_bytes": plan.workspace_bytes, "input_shape": list(plan.program.input_shape),
        "output_shape": list(plan.program.output_shape), "library": f"{name}{machine.suffix}",
        "layers": [describe(plan, index, choices) for index in range(len(plan.ops))],
    }  # fmt: skip
    write_folder(Path(folder), record, source, head, main_c(name), made)


class Native(nn.Module):
    """A library as a module for inference: (batch, channels, height, width) float32 on the CPU to (batch, ...).

    One image after another, on the thread that calls; each thread has its own workspace, and so has a copy. Final.
    """

    def __init__(self, library: ctypes.CDLL, record: dict[str, Any]):
        super().__init__()
        self.record = record
        self.input_shape = tuple(record["input_shape"])
        self.output_shape = tuple(record["output_shape"])
        self._size = record["workspace_bytes"]
        self._library = library
        self._run = getattr(self._library, f"{record['name']}_run")
        self._run.argtypes, self._run.restype = [ctypes.c_void_p] * 3, None
        self._own = threading.local()
        self._spare = list[tuple[Tensor, int]]()
        self._parts = torch.Size((1, *self.input_shape)), self._spare, self._run, self._own

    @property
    def size_bytes(self) -> int | None:
        """Of the library, None where it was never a file of its own."""
        return self.record.get("size_bytes")

    def __deepcopy__(self, memo: dict[int, Any]) -> Native:
        """Without hooks."""
        return Native(self._library, self.record).train(self.training)

    def __copy__(self) -> Native:
        return copy.deepcopy(self)

    def __reduce__(self) -> NoReturn:
        raise UntrustedCodeError(
            "native: a library is code and is not pickled; hand on its folder, and open that with load_native."
        )

    def workspace(self) -> int:
        """The address of this thread's workspace."""
        try:
            return self._own.place
        except AttributeError:
            self._own.place, self._own.held = aligned(self._size)
            return self._own.place

    def _answer(self) -> tuple[Tensor, int]:
        """A fresh tensor for one answer, and where it lies. They are made several at a time, because alone one costs as
        long as a small network, but not so many that the next one has left the cache."""
        # One that is kept keeps all of its storage, so large answers are made alone.
        size = max(1, prod(self.output_shape))
        many = max(1, min(32, 4096 // size))
        with torch.inference_mode(False):  # else later calls outside it got tensors that nobody may write to
            made = torch.empty((many, 1, *self.output_shape), dtype=float32, device="cpu")
            first = made.data_ptr()
            answers = list(zip(made.unbind(), range(first, first + 4 * size * many, 4 * size), strict=True))
        self._spare += answers[1:]
        return answers[0]

    def __call__(self, images: Tensor) -> Tensor:
        """As `nn.Module` does. One image takes a path without its search for hooks and without calls in between, which
        together take as long as a small network."""
        one, spare, run, own = self._parts
        if (
            images.shape == one and images.dtype is float32 and images.is_cpu and images.is_contiguous()
            and not (self._forward_hooks or self._forward_pre_hooks or EVERY_HOOK or EVERY_PRE_HOOK)
        ):  # fmt: skip
            try:
                out, to = spare.pop()
            except IndexError:
                out, to = self._answer()
            try:
                place = own.place
            except AttributeError:
                place = self.workspace()
            run(images.data_ptr(), to, place)
            return out
        return super().__call__(images)

    def forward(self, images: Tensor) -> Tensor:
        """Raises ShapeError for images of another shape, type or device."""
        if images.shape[1:] != self.input_shape or images.dtype != float32 or images.device.type != "cpu":
            raise ShapeError(
                f"native: images are {tuple(images.shape)} {images.dtype} on {images.device}, must be "
                f"(batch, {', '.join(map(str, self.input_shape))}) torch.float32 on cpu."
            )
        images = images.contiguous()
        count = len(images)
        out = torch.empty((count, *self.output_shape), dtype=float32, device="cpu")
        run, place, x, y = self._run, self.workspace(), images.data_ptr(), out.data_ptr()
        steps = 4 * images[0].numel() if count else 0, 4 * out[0].numel() if count else 0
        for i in range(count):
            run(x + i * steps[0], y + i * steps[1], place)
        return out

    def bind(self, image: Tensor, out: Tensor) -> Callable[[], None]:
        """A call without arguments that reads `image` (1, channels, height, width) and writes `out` (1, ...): what
        remains of Python is one foreign call. It has its own workspace: one call at a time. Raises ShapeError."""
        for tensor, shape in ((image, self.input_shape), (out, self.output_shape)):
            fits = tuple(tensor.shape) == (1, *shape) and tensor.dtype == torch.float32 and tensor.is_cpu
            if not fits or not tensor.is_contiguous():
                raise ShapeError(
                    f"native: bind was given {tuple(tensor.shape)} {tensor.dtype} on {tensor.device}, must be "
                    f"{(1, *shape)} torch.float32 on cpu, contiguous."
                )
        place, held = aligned(self._size)
        call = partial(self._run, *map(ctypes.c_void_p, (image.data_ptr(), out.data_ptr(), place)))
        call.held = (image, out, held)  # type: ignore[attr-defined]
        return call


def load_native(folder: str | Path) -> Native:
    """The library of a folder that `build_native` wrote. It is code: it runs in this process.

    Raises CorruptFileError when the library is not the one that was written, SettingError for another machine's or one
    that needs what this processor has not.
    """
    folder = Path(folder)
    record = read_record(folder / "native.json")
    library = folder / Path(str(record["library"])).name
    code = library.read_bytes() if library.exists() else b""
    if sha256(code) != record["sha256"]:
        raise CorruptFileError(f"{library}: is missing or not the library that native.json tells of; build it again.")
    if not runs_here(record["target"]):
        raise SettingError(f"{folder}: was built for {record['target']}, which cannot run here; build it for native.")
    refuse_processor(str(folder), record.get("needs", ()), record["target"])
    with tempfile.TemporaryDirectory() as place:
        # Under a name of its own: a path that was loaded before would give the library that lay there then.
        own = Path(place) / library.name
        own.write_bytes(code)
        return opened(own, {**record, "size_bytes": len(code)})


def opened(library: Path, record: dict[str, Any]) -> Native:
    try:
        return Native(ctypes.CDLL(str(library)), record)
    except OSError as error:
        raise WorkError(f"{library.name}: this machine cannot load it ({error}); build it for native.") from error


def library_module(text: str, name: str, plan: Plan, machine: Target) -> nn.Module:
    """A C text, compiled and loaded."""
    record = {
        "name": name, "workspace_bytes": plan.workspace_bytes, "input_shape": plan.program.input_shape,
        "output_shape": plan.program.output_shape,
    }  # fmt: skip
    return opened(compile_c(text, machine, (f"{name}_run",)), record)
