"""Values on their way to another process: as bytes, with or without what their tensors hold.

Read only what a process of ours has written: reading builds any object.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from multiprocessing.reduction import DupFd, ForkingPickler
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PROTOCOL = 5
ALIGNMENT = 64
"""Bytes; a vector register."""


class Packer(ForkingPickler):
    """Writes an object; tensors on the CPU as numpy arrays over their storage, so that views stay views. Final.

    keep: is given the bytes of every array, which then do not stand in the file; None leaves them there.
    """

    def __init__(self, file: BytesIO, keep: Callable | None = None) -> None:
        super().__init__(file, PROTOCOL, True, keep)
        self.storages: dict[int, np.ndarray] = {}

    def reducer_override(self, value: Any) -> Any:
        if type(value) not in (Tensor, nn.Parameter) or value.device.type != "cpu" or value.layout != torch.strided:
            return NotImplemented
        if value.is_quantized or value.is_conj() or value.is_neg():
            return NotImplemented
        storage = value.untyped_storage()
        if storage.data_ptr() not in self.storages:
            self.storages[storage.data_ptr()] = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
        held = self.storages[storage.data_ptr()]
        shape = (value.storage_offset(), tuple(value.shape), value.stride())
        return build, (held, value.dtype, *shape, value.requires_grad, isinstance(value, nn.Parameter))


def build(
    held: np.ndarray, dtype: torch.dtype, offset: int, shape: tuple, stride: tuple, grad: bool, parameter: bool
) -> Tensor:
    """The tensor that lies in these bytes; nothing is copied."""
    with warnings.catch_warnings():  # where the bytes are Ray's they cannot be written to, and nobody does
        warnings.simplefilter("ignore")
        storage = torch.from_numpy(held).untyped_storage()
    tensor = torch.empty(0, dtype=dtype).set_(storage, offset, shape, stride)
    return nn.Parameter(tensor, grad) if parameter else tensor.requires_grad_(grad)


def dumps(value: Any) -> bytes:
    """All of it, tensors included."""
    file = BytesIO()
    Packer(file).dump(value)
    return file.getvalue()


def loads(body: bytes, arrays: Sequence | None = None) -> Any:
    """The object. arrays: what `dumps_apart` gave beside the body."""
    return ForkingPickler.loads(body, buffers=arrays)


def dumps_apart(value: Any) -> tuple[bytes, list[memoryview]]:
    """(the object without the bytes of its arrays and tensors, those bytes)."""
    arrays: list[memoryview] = []
    file = BytesIO()
    Packer(file, lambda buffer: arrays.append(buffer.raw())).dump(value)
    return file.getvalue(), arrays


class Passed:
    """A file handle that a process is started with. Final."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __reduce__(self) -> Any:
        return taken, (DupFd(self.handle),)


def taken(handle: Any) -> Passed:
    """A Passed in the process it was sent to."""
    return Passed(handle.detach())


class Shared:
    """An object for several processes whose arrays and tensors stand in memory once. Final.

    They lie in a file that has no name, so nothing is left when everybody is killed, and no /dev/shm that is small
    in a container limits it. It travels as an argument of a process only. Whoever writes to a tensor of it changes it
    for all.
    """

    def __init__(self, body: bytes, spans: list[tuple[int, int]], handle: int) -> None:
        self.body = body
        self.spans = spans
        self.handle = handle

    @staticmethod
    def of(value: Any) -> Shared:
        """A copy of the value, as it is now."""
        body, arrays = dumps_apart(value)
        spans, end = [], 0
        for array in arrays:
            start = -(-end // ALIGNMENT) * ALIGNMENT
            end = start + len(array)
            spans.append((start, end))
        shared = Shared(body, spans, nameless_file(max(1, end)))
        with shared.map() as memory:
            for (start, stop), array in zip(spans, arrays, strict=True):
                memory[start:stop] = array
        return shared

    def map(self) -> mmap.mmap:
        return mmap.mmap(self.handle, max((stop for _, stop in self.spans), default=1))

    def open(self) -> Any:
        """The value; its tensors are those of every other process that opens it."""
        memory = memoryview(self.map())
        return loads(self.body, [memory[start:stop] for start, stop in self.spans])

    def close(self) -> None:
        """Let go of the file; what was opened stays."""
        os.close(self.handle)

    def __reduce__(self) -> Any:
        return received, (self.body, self.spans, DupFd(self.handle))


def received(body: bytes, spans: list[tuple[int, int]], handle: Any) -> Shared:
    """A Shared in the process it was sent to."""
    return Shared(body, spans, handle.detach())


def nameless_file(size: int) -> int:
    """Handle of a file of so many bytes, in memory where the system can, that goes with its last user."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("prunelle")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.truncate(handle, size)
    return handle
