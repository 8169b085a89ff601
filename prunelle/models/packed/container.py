"""The packed file: a network in one file, bit for bit.

    8 bytes   "PRUNPACK"
    2         version, little-endian as all numbers here: 1
    32        SHA-256 of all that follows
    32        SHA-256 of the decoded tensors, see `content_hash`
    4         length of the header
    header    JSON, deflated: what model.json of a saved folder says, and one line a tensor (header.py)
    streams   one for each tensor that has codes, in the header's order; its coder is "mixing" (small_matrix.py) or
              "lanes" (large_matrix.py)
    numbers   the rest, deflated: of each tensor its numbers (numbers.py), one after another, byte planes apart

Everything is checked before it is believed: the first hash before anything is decoded, lengths and shapes before
anything is allocated, the second hash at the end. No pickle, and nothing in it is code.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunelle.errors import CorruptFileError
from prunelle.files import to_json
from prunelle.models.packed import large_matrix, small_matrix
from prunelle.models.packed.coder import Reader, Writer
from prunelle.models.packed.deflated import deflate, inflate_exactly
from prunelle.models.packed.header import FIXED, MOST_BITS, SHA, Header, Line, check_sizes, open_header
from prunelle.models.packed.magic import MAGIC, VERSION
from prunelle.models.packed.numbers import DTYPES, Coded, count_numbers, from_codes, narrowest, to_codes
from prunelle.models.packed.small_matrix import CODE, LEVELS

Check = Callable[[dict, dict[str, Tensor]], None]


@dataclass(frozen=True)
class Below:
    """What the last matrix kept of each of its rows: columns that read those rows are foretold by it."""

    counts: np.ndarray

    def then(self, codes: np.ndarray) -> Below:
        """After one more matrix; a single row is no layer."""
        return Below(np.count_nonzero(codes, axis=1)) if len(codes) > 1 else self

    def levels(self, columns: int) -> np.ndarray:
        """(columns,) int64 bit lengths of the counts, each for as many columns as read one row; 0 where the rows are
        no divisor of the columns."""
        rows = len(self.counts)
        if rows == 0 or columns % rows:
            return np.zeros(columns, dtype=np.int64)
        lengths = [min(int(count).bit_length(), LEVELS - 1) for count in self.counts]
        return np.repeat(np.array(lengths, dtype=np.int64), columns // rows)


NOTHING = Below(np.zeros(0, dtype=np.int64))


def encode(tensors: dict[str, Tensor], about: dict) -> bytes:
    """The file's bytes. about: plain JSON values."""
    coded = {name: to_codes(tensor) for name, tensor in tensors.items()}
    learned = learned_one_by_one(coded)
    lines, streams, numbers, last = [], [], [], NOTHING
    for name, tensor in tensors.items():
        own = coded[name]
        stored = narrowest(own.numbers)
        line: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "kind": own.kind}
        line |= {"dtype": text(tensor.dtype), "stored": text(stored)}
        if own.codes is not None:
            stride = stride_of(own.codes, tuple(tensor.shape))
            stream = write_stream(own, name in learned, stride, last)
            coder = "mixing" if name in learned else "lanes"
            line |= {"coder": coder, "num_codes": own.num_codes, "stride": stride, "bytes": len(stream)}
            streams.append(stream)
            last = last.then(own.codes)
        lines.append(Line.model_validate(line).model_dump(exclude_defaults=True))
        numbers.append(planes(own.numbers.to(stored)))
    header = deflate(to_json({"about": about, "tensors": lines}).encode())
    body = content_hash(tensors) + len(header).to_bytes(4, "little") + header + b"".join(streams)
    body += deflate(b"".join(numbers))
    return MAGIC + VERSION.to_bytes(2, "little") + hashlib.sha256(body).digest() + body


def write_stream(coded: Coded, learned: bool, stride: int, last: Below) -> bytes:
    assert coded.codes is not None
    if not learned:
        return large_matrix.encode(coded.codes, coded.num_codes)
    flow = Writer()
    below = last.levels(coded.codes.shape[1])
    small_matrix.code_(flow, coded.codes.copy(), coded.num_codes, stride, below, MOST_BITS)
    return flow.finish()


def learned_one_by_one(coded: dict[str, Coded]) -> set[str]:
    """The tensors that go bit by bit: the smallest first, as long as MOST_BITS last."""
    left, found = MOST_BITS, set()
    costs = {
        name: small_matrix.most_bits(own.codes, own.num_codes) for name, own in coded.items() if own.codes is not None
    }
    for name in sorted(costs, key=lambda name: costs[name]):
        left -= costs[name]
        if left >= 0:
            found.add(name)
    return found


def stride_of(codes: np.ndarray, shape: tuple[int, ...]) -> int:
    """From an element to the one above it: a kernel's area, or for a linear layer the step of 3 to 64 columns at which
    kept elements meet most often, 2 where none stands out."""
    if len(shape) > 2:
        return max(2, math.prod(shape[2:]))
    kept = (codes != 0).astype(np.float32)
    kept -= kept.mean(0)
    steps = range(3, min(65, kept.shape[1] // 2))
    met = {step: float((kept[:, step:] * kept[:, :-step]).mean()) for step in steps}
    best = max(met, key=lambda step: met[step], default=2)
    return best if met and met[best] > 1.2 * float(np.median(list(met.values()))) else 2


def decode(raw: bytes, where: str, check: Check) -> tuple[dict, dict[str, Tensor]]:
    """(about, tensors by name) of a packed file's bytes. where: named in errors.

    check: called with about and with tensors on the meta device, which have shapes and types but no memory, before
    anything is allocated; it raises what it will. Raises CorruptFileError.
    """
    try:
        header, body = open_header(raw)
        check_sizes(header, len(raw))
        check(header.about, {line.name: line.outline() for line in header.tensors})
        tensors = read_tensors(header, body)
        if content_hash(tensors) != raw[FIXED - 4 - SHA : FIXED - 4]:
            raise CorruptFileError("packed file: the weights are not those that were packed; take a fresh copy.")
    except CorruptFileError as error:
        raise CorruptFileError(str(error).replace("packed file", where, 1)) from None
    return header.about, tensors


def read_tensors(header: Header, body: bytes) -> dict[str, Tensor]:
    """Streams first: they tell how many numbers each tensor has."""
    codes: dict[str, np.ndarray | None] = {}
    last, bits = NOTHING, MOST_BITS
    for line in header.tensors:
        own = None
        if line.coder:
            if line.bytes > len(body):
                raise CorruptFileError(f"packed file: the codes of {line.name!r:.99} are longer than the file.")
            own, bits = read_stream(line, body[: line.bytes], last, bits)
            last = last.then(own)
            body = body[line.bytes :]
        codes[line.name] = own
    counts = [count_numbers(line.kind, codes[line.name], line.num_codes, line.matrix) for line in header.tensors]
    sizes = [count * DTYPES[line.stored].itemsize for line, count in zip(header.tensors, counts, strict=True)]
    numbers = inflate_exactly(body, sum(sizes))
    found, at = {}, 0
    for line, size in zip(header.tensors, sizes, strict=True):
        values = unplaned(numbers[at : at + size], DTYPES[line.stored]).to(DTYPES[line.dtype])
        coded = Coded(line.kind, values, codes[line.name], line.num_codes)
        found[line.name] = from_codes(coded, tuple(line.shape))
        at += size
    return found


def read_stream(line: Line, raw: bytes, last: Below, bits: int) -> tuple[np.ndarray, int]:
    """(codes, how many bits may still be read one by one). Raises CorruptFileError."""
    rows, columns = line.matrix
    if line.coder == "lanes":
        return large_matrix.decode(raw, rows, columns, line.num_codes), bits
    flow, codes = Reader(raw), np.zeros((rows, columns), dtype=CODE)
    small_matrix.code_(flow, codes, line.num_codes, line.stride, last.levels(columns), bits)
    flow.finish()
    return codes, bits - small_matrix.most_bits(codes, line.num_codes)


def planes(numbers: Tensor) -> bytes:
    """The lowest byte of each number, then the next one of each...: alike bytes together deflate better."""
    raw = numbers.contiguous().view(-1).view(torch.uint8).numpy()
    return raw.reshape(-1, numbers.element_size()).T.tobytes()


def unplaned(raw: bytes, dtype: torch.dtype) -> Tensor:
    """The inverse of `planes`."""
    if not raw:
        return torch.empty(0, dtype=dtype)
    whole = torch.from_numpy(np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, -1).T.copy()).view(-1)
    return whole.bool() if dtype == torch.bool else whole.view(dtype)


def content_hash(tensors: dict[str, Tensor]) -> bytes:
    """SHA-256 over name, type, shape and bytes of each tensor, in their order."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(to_json([name, text(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def text(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
