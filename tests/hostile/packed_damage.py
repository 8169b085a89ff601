"""Packed files, and ten ways to spoil them; some with the hash computed anew, so that what is behind it is met too."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from prunelle.errors import InputError
from prunelle.models.packed import container
from prunelle.models.packed.deflated import deflate
from prunelle.models.packed.header import FIXED, open_header
from prunelle.models.packed.model import read_packed, to_bytes
from prunelle.models.save import Builder

BUILDER = Builder(spec="lenet5_small", input_shape=[1, 8, 8], num_classes=10)
SEAL = slice(10, 42)
MOST_SECONDS = 10.0
ODD_VALUES: tuple[object, ...] = (
    *(0, 1, -1, 2, 3, 7, 255, 256, 257, 65536, 2**31, 2**31 - 1, 2**40, 2**70, 0.5, 1e300),
    *("", "plain", "kept", "book", "grid", "mixing", "lanes", "float16", "bfloat16", "float64", "int64", "bool"),
    *("fc1.weight", "no.weight", "a\nb", "\x1b[2J", None, True, [], [0], [2**31] * 16, [2**20, 2**20], [-1, 4], {}),
)


def originals() -> dict[str, bytes]:
    """One file of every kind of tensor and both coders."""
    draw = torch.Generator().manual_seed(0)
    found = {}
    for name, change in (
        ("book", lambda w: torch.tensor([-0.5, 0.25, 1.5, 0.7])[torch.randint(4, w.shape, generator=draw)]),
        ("kept", lambda w: w),
        ("grid", lambda w: torch.randint(-127, 128, w.shape, generator=draw) * 0.01),
    ):
        model = pruned(change, draw)
        found[name] = to_bytes(model, builder=BUILDER, class_names=tuple("0123456789"))
        with mock.patch.object(container, "MOST_BITS", 0):
            found[f"{name} in lanes"] = to_bytes(model, builder=BUILDER)
    found["plain"] = to_bytes(BUILDER.make(), builder=BUILDER)
    found["half"] = to_bytes(BUILDER.make().half(), builder=BUILDER)
    return found


def pruned(change: Callable[[torch.Tensor], torch.Tensor], draw: torch.Generator) -> nn.Module:
    """BUILDER's network with 30 % of what `change` makes of its weights."""
    model = BUILDER.make()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(change(parameter).masked_fill(torch.rand(parameter.shape, generator=draw) > 0.3, 0.0))
    return model


def sealed(raw: bytes) -> bytes:
    """The first hash computed anew."""
    return raw[: SEAL.start] + hashlib.sha256(raw[SEAL.stop :]).digest() + raw[SEAL.stop :]


def flip(raw: bytes, other: bytes, draw: random.Random) -> bytes:
    spoilt = bytearray(raw)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        spoilt[draw.randrange(len(spoilt))] ^= 1 << draw.randrange(8)
    return bytes(spoilt)


def cut(raw: bytes, other: bytes, draw: random.Random) -> bytes:
    return raw[: draw.randrange(len(raw))]


def splice(raw: bytes, other: bytes, draw: random.Random) -> bytes:
    """A piece of another file put in, or in place of as many bytes."""
    at, start, size = draw.randrange(len(raw)), draw.randrange(len(other)), draw.randrange(1, 400)
    return raw[:at] + other[start : start + size] + raw[at + size * draw.randrange(2) :]


def noise(raw: bytes, other: bytes, draw: random.Random) -> bytes:
    """Random bytes, from some byte on."""
    at = draw.choice((0, 8, 10, 42, FIXED, FIXED + 40, len(raw) // 2))
    return raw[:at] + draw.randbytes(draw.randrange(1, 2000))


def body(raw: bytes, other: bytes, draw: random.Random) -> bytes:
    """Only streams and numbers are spoilt: what stands behind the header."""
    start = FIXED + int.from_bytes(raw[FIXED - 4 : FIXED], "little")
    change = draw.choice((flip, cut, splice))
    return raw[:start] + change(raw[start:], other, draw)


def length(raw: bytes, other: bytes, draw: random.Random) -> bytes:
    size = draw.choice((0, 1, draw.randrange(len(raw)), len(raw), 2**31, 2**32 - 1))
    return raw[: FIXED - 4] + size.to_bytes(4, "little") + raw[FIXED:]


def field(raw: bytes, other: bytes, draw: random.Random) -> bytes:
    """One value of the header is another one."""
    header, rest = open_header(sealed(raw))
    values = header.model_dump()
    place = draw.choice((values["about"], *values["tensors"], *values["tensors"]))
    name = draw.choice(sorted(place))
    place[name] = draw.choice((*ODD_VALUES, draw.randrange(4000)))
    if draw.randrange(8) == 0:
        del place[name]
    return with_header(raw, json.dumps(values).encode(), rest)


def tensors(raw: bytes, other: bytes, draw: random.Random) -> bytes:
    """Lines of the header swapped, dropped, doubled or taken from another file."""
    header, rest = open_header(sealed(raw))
    values, theirs = header.model_dump(), open_header(sealed(other))[0].model_dump()
    lines = values["tensors"]
    if draw.randrange(2):
        draw.shuffle(lines)
    else:
        lines[draw.randrange(len(lines))] = draw.choice(theirs["tensors"])
    del lines[draw.randrange(1, len(lines) + 1) :]
    return with_header(raw, json.dumps(values).encode(), rest)


def header_text(raw: bytes, other: bytes, draw: random.Random) -> bytes:
    """The header's JSON spoilt as text."""
    size = int.from_bytes(raw[FIXED - 4 : FIXED], "little")
    text = container.to_json(open_header(sealed(raw))[0].model_dump()).encode()
    return with_header(raw, draw.choice((flip, cut, splice))(text, text, draw), raw[FIXED + size :])


def bomb(raw: bytes, other: bytes, draw: random.Random) -> bytes:
    """A header or body that inflates to far more than it should."""
    size = int.from_bytes(raw[FIXED - 4 : FIXED], "little")
    zeros = deflate(bytes(draw.choice((2**20, 2**25))))
    if draw.randrange(2):
        return raw[: FIXED - 4] + len(zeros).to_bytes(4, "little") + zeros + raw[FIXED + size :]
    return raw[: FIXED + size] + zeros


def with_header(raw: bytes, text: bytes, rest: bytes) -> bytes:
    packed = deflate(text)
    return raw[: FIXED - 4] + len(packed).to_bytes(4, "little") + packed + rest


UNSEALED = (flip, cut, splice, noise)
SEALED = (flip, cut, splice, noise, body, body, length, field, field, tensors, header_text, bomb)


def damages(count: int, seed: int = 0) -> Iterator[tuple[str, bytes, bytes]]:
    """(what was done, the original, the spoilt file): every way in turns, one in four without a new hash."""
    files, draw = originals(), random.Random(seed)
    names = sorted(files)
    for number in range(count):
        name, other = names[number % len(names)], draw.choice(names)
        change = draw.choice(SEALED if number % 4 else UNSEALED)
        spoilt = change(files[name], files[other], draw)
        if number % 4 and len(spoilt) > SEAL.stop:
            spoilt = sealed(spoilt)
        yield f"{number}: {name}, {change.__name__}{' sealed' if number % 4 else ''}", files[name], spoilt


def verdict(original: bytes, spoilt: bytes, path: Path) -> tuple[str | None, bool]:
    """(None where the file was refused in one sentence or holds what the original holds, else what came instead;
    whether it was refused)."""
    path.write_bytes(spoilt)
    start = time.monotonic()
    try:
        found = read_packed(path)[1]
    except InputError as error:
        said = str(error)
        proper = said.startswith(f"{path}: ") and said.isprintable() and len(said) < 1000 and said.endswith((".", ")"))
        problem = None if proper else f"said {said!r:.300}"
        return problem or slow(start), True
    except BaseException as error:
        return f"raised {error!r:.300}", True
    wanted = container.decode(original, "original", lambda about, outlines: None)[1]
    if container.content_hash(found) != container.content_hash(wanted):
        return "opened as something else", False
    return slow(start), False


def slow(start: float) -> str | None:
    seconds = time.monotonic() - start
    return f"took {seconds:.1f} s" if seconds > MOST_SECONDS else None
