"""The C file while it is written: tables, functions that are written once however often they are used, and calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from prunelle.ship.c.ops import ZERO, Maps, Program


@dataclass(frozen=True)
class Numbers:
    """What the pixels of a network are. name: fp32 or int16. c: the C type. bytes: of one number."""

    name: str
    c: str
    bytes: int


LONG = 4096
"""Numbers in a table from which on it is written as strings."""

FP32 = Numbers("fp32", "float", 4)
INT16 = Numbers("int16", "int16_t", 2)


@dataclass
class Writer:
    """vector_bytes: 64, 32 or 16. registers: how many vectors a kernel may sum in at once."""

    program: Program
    numbers: Numbers
    vector_bytes: int
    registers: int
    tables: list[str] = field(default_factory=list)
    functions: dict[str, str] = field(default_factory=dict)
    known: dict[tuple[str, bytes], str] = field(default_factory=dict)
    owners: dict[int, Maps] = field(default_factory=dict)

    @property
    def lanes(self) -> int:
        """Pixels in a vector."""
        return self.vector_bytes // self.numbers.bytes

    @property
    def float_lanes(self) -> int:
        return self.vector_bytes // 4

    def place(self, channel: int) -> int:
        """Where a channel's first row lies, in vectors; -1 for the channel of zeros."""
        if channel == ZERO:
            return -1
        if not self.owners:
            self.owners = {n: m for m in self.program.maps for n in range(m.first, m.first + m.count)}
        return self.owners[channel].place(channel)

    def function(self, name: str, text: str) -> str:
        """Write a function, once; gives its name."""
        before = self.functions.setdefault(name, text)
        assert before == text, f"two functions are called {name}"
        return name

    def ints(self, values: Iterable[int] | np.ndarray) -> str:
        """A table of int32; gives its name."""
        return self.table("int32_t", np.asarray(values if isinstance(values, np.ndarray) else list(values), np.int32))

    def floats(self, values: Sequence[float] | np.ndarray) -> str:
        return self.table("float", np.asarray(values, dtype=np.float32))

    def shorts(self, values: Sequence[int] | np.ndarray) -> str:
        return self.table("int16_t", np.asarray(values, dtype=np.int16))

    def values(self, values: Sequence[float] | np.ndarray) -> str:
        """A table of the network's own numbers, already scaled."""
        return self.floats(values) if self.numbers is FP32 else self.shorts(np.asarray(values).round().astype(int))

    def table(self, kind: str, values: np.ndarray) -> str:
        """A constant array, aligned to a vector; equal ones are written once. Gives the expression of its start.

        Floats are written as their bits: exact, short, and ten times faster for compilers to read. Long tables are
        written as strings of their bytes, lowest first as all targets have them: ten times faster again.
        """
        flat = values.reshape(-1) if values.size else np.zeros(1, values.dtype)
        key = (kind, flat.tobytes())
        if key not in self.known:
            name, count = f"t{len(self.known)}", len(flat)
            bits = flat.view(np.uint32) if kind == "float" else flat
            body = lines_of(bits.tolist()) if count <= LONG else ""
            if count > LONG:
                declared = f"static const union {{ char bytes[{flat.nbytes + 1}]; {kind} value[{count}]; }} {name}"
                self.tables.append(f"{declared} ALIGNED = {{\n{string_of(flat)}}};\n")
                name += ".value"
            elif kind == "float":
                declared = f"static const union {{ uint32_t bits[{count}]; float value[{count}]; }} {name}"
                self.tables.append(f"{declared} ALIGNED = {{{{\n{body}\n}}}};\n")
                name += ".value"
            else:
                self.tables.append(f"static const {kind} {name}[{count}] ALIGNED = {{\n{body}\n}};\n")
            self.known[key] = name
        return self.known[key]


def string_of(values: np.ndarray) -> str:
    """The bytes of the numbers as string literals, 32 bytes a line.

    >>> string_of(np.array([1, 258], dtype=np.int16))
    '"\\\\001\\\\000\\\\002\\\\001"\\n'
    """
    flat = values.astype(values.dtype.newbyteorder("<")).view(np.uint8)
    escapes = np.array([f"\\{byte:03o}" for byte in range(256)], dtype="S4")[flat].tobytes().decode()
    return "".join(f'"{escapes[i : i + 128]}"\n' for i in range(0, len(escapes), 128))


def lines_of(values: list[int]) -> str:
    """The numbers with commas, twelve a line."""
    return ",\n".join(", ".join(map(str, values[i : i + 12])) for i in range(0, len(values), 12))


def short_hex(value: float) -> str:
    """A float as C reads it, exactly.

    >>> short_hex(0.75), short_hex(2.0)
    ('0x1.8p-1f', '2.f')
    """
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value)}.f"
    mantissa, _, exponent = float(np.float32(value)).hex().partition("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}f"
