"""The first bytes of a packed file: what is in it, and whether that can be, before anything is decoded."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from prunelle.errors import CorruptFileError
from prunelle.files import LARGEST_JSON_BYTES, not_json
from prunelle.models.packed.deflated import inflate
from prunelle.models.packed.magic import MAGIC, VERSION
from prunelle.models.packed.numbers import DTYPES, shape_of
from prunelle.models.packed.small_matrix import MOST_CODES

SHA = 32
FIXED = len(MAGIC) + 2 + 2 * SHA + 4
MOST_BITS = 1_000_000
"""Bits that are learned one by one, in a whole file: two or three seconds of Python. What is beyond goes in lanes."""
FREE_ELEMENTS, ELEMENTS_A_BYTE = 2**22, 1024
"""No honest file holds more elements than this many, and this many for each of its bytes."""
LARGEST_ELEMENTS = 2**31
Side = Annotated[int, Field(ge=0, le=2**31)]


class Line(BaseModel):
    """What the header says of one tensor. stored: the type of its numbers in the file. bytes: of its stream.
    stride: see small_matrix.code_."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    name: str
    shape: list[Side] = Field(max_length=16)
    dtype: str
    stored: str
    kind: Literal["plain", "kept", "book", "grid"] = "plain"
    coder: Literal["", "mixing", "lanes"] = ""
    num_codes: Annotated[int, Field(ge=0, le=MOST_CODES)] = 0
    stride: Annotated[int, Field(ge=2, le=2**20)] = 2
    bytes: Side = 0

    @property
    def matrix(self) -> tuple[int, int]:
        return shape_of(tuple(self.shape))

    def outline(self) -> Tensor:
        """Shape and type without memory."""
        return torch.empty(self.shape, dtype=DTYPES[self.dtype], device="meta")


class Header(BaseModel):
    """about: of the model, as the caller gave it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    about: dict
    tensors: list[Line]


def open_header(raw: bytes) -> tuple[Header, bytes]:
    """(header, what follows it), the first hash checked. Raises CorruptFileError."""
    if not raw.startswith(MAGIC) or len(raw) < FIXED:
        raise CorruptFileError("packed file: is no file that prunelle packed; give one.")
    version = int.from_bytes(raw[len(MAGIC) : len(MAGIC) + 2], "little")
    if version != VERSION:
        raise CorruptFileError(f"packed file: is of version {version}, this program reads {VERSION}; update it.")
    start = len(MAGIC) + 2 + SHA
    if hashlib.sha256(raw[start:]).digest() != raw[start - SHA : start]:
        raise CorruptFileError("packed file: its contents do not match its own SHA-256; take a fresh copy of the file.")
    size = int.from_bytes(raw[FIXED - 4 : FIXED], "little")
    if size > len(raw) - FIXED:
        raise CorruptFileError("packed file: its header is longer than the file; take a fresh copy.")
    text = inflate(raw[FIXED : FIXED + size], LARGEST_JSON_BYTES)
    try:
        return Header.model_validate(json.loads(text, parse_constant=not_json)), raw[FIXED + size :]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CorruptFileError(
            f"packed file: {place!r:.99}: {first['msg']!r}; it was not written by this version."
        ) from None
    except (ValueError, RecursionError):
        raise CorruptFileError("packed file: its header is no JSON; take a fresh copy of the file.") from None


def check_sizes(header: Header, size: int) -> None:
    """Raises CorruptFileError for names that come twice or hold control characters, types that do not go together, and
    more elements than a file of `size` bytes can hold."""
    names = [line.name for line in header.tensors]
    if len(set(names)) != len(names) or not all(name.isprintable() for name in names):
        raise CorruptFileError("packed file: a tensor comes twice or has no name to print; take a fresh copy.")
    total = bits = 0
    for line in header.tensors:
        count = math.prod(line.shape)
        told = count + sum(line.matrix)
        total += told if line.coder else count
        bits += told if line.coder == "mixing" else 0
        if total > min(LARGEST_ELEMENTS, FREE_ELEMENTS + ELEMENTS_A_BYTE * size) or bits > MOST_BITS:
            raise CorruptFileError(
                f"packed file: {line.name!r:.99} is {line.shape}, too much for a file of {size} bytes."
            )
        own, stored = DTYPES.get(line.dtype), DTYPES.get(line.stored)
        if (
            own is None
            or stored is None
            or (own != stored and not (own.is_floating_point and stored.is_floating_point))
        ):
            raise CorruptFileError(
                f"packed file: {line.name!r:.99} is {line.dtype!r:.99} stored as {line.stored!r:.99}; that is refused."
            )
        if line.stride > max(2, line.matrix[1]):
            raise CorruptFileError(f"packed file: {line.name!r:.99} has a stride of {line.stride}; take a fresh copy.")
        if (line.kind == "plain") != (line.coder == "") or (line.coder != "") != (line.num_codes > 0):
            raise CorruptFileError(f"packed file: {line.name!r:.99} has codes or has none; take a fresh copy.")
