"""zlib with known sizes: what comes out is as long as was said, or the file is refused before it is longer."""

from __future__ import annotations

import zlib

from prunelle.errors import CorruptFileError


def deflate(raw: bytes) -> bytes:
    """Without zlib's own header and checksum: the file has one for all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(raw) + packer.flush()


def inflate(raw: bytes, largest: int) -> bytes:
    """At most `largest` bytes. Raises CorruptFileError for more, for none at all, and for bytes behind the end."""
    unpacker = zlib.decompressobj(-15)
    try:
        found = unpacker.decompress(raw, largest + 1)
    except zlib.error as error:
        raise CorruptFileError(f"packed file: a part cannot be inflated ({error}); take a fresh copy.") from None
    if len(found) > largest or not unpacker.eof or unpacker.unused_data:
        raise CorruptFileError("packed file: a part has another length than was said; take a fresh copy.")
    return found


def inflate_exactly(raw: bytes, size: int) -> bytes:
    """`inflate`, and refuse fewer bytes too."""
    found = inflate(raw, size)
    if len(found) != size:
        raise CorruptFileError(f"packed file: a part has {len(found)} bytes, must have {size}; take a fresh copy.")
    return found
