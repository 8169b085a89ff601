"""C becomes a library: by the system's compiler, or by the ziglang wheel where there is none or for another machine."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from prunelle.errors import MissingExtraError, SettingError, WorkError
from prunelle.ship.library_cache import keep, kept, workshop

FLAGS = (
    "-O3",
    "-std=gnu99",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wextra",
)


@dataclass(frozen=True)
class Target:
    """A kind of machine. vector_bytes: of its vectors. registers: vectors to sum in at once. cc: flags of gcc or clang,
    None when they cannot make code for it here. zig: flags of `zig cc`. suffix: of the file made."""

    name: str
    vector_bytes: int
    registers: int
    cc: tuple[str, ...] | None
    zig: tuple[str, ...]
    suffix: str = ".so"


TARGETS = {
    "x86-64-v3": Target(
        "x86-64-v3", 32, 12, ("-march=x86-64-v3",), ("-target", "x86_64-linux-gnu.2.28", "-mcpu=x86_64_v3")
    ),
    "aarch64-linux": Target("aarch64-linux", 16, 24, None, ("-target", "aarch64-linux-gnu.2.28")),
    "wasm32-wasi": Target("wasm32-wasi", 16, 12, None, ("-target", "wasm32-wasi", "-mcpu=generic+simd128"), ".wasm"),
}
"""Beside these `native`: the machine that compiles."""

MACHINES = {"x86-64-v3": ("x86_64", "AMD64"), "aarch64-linux": ("aarch64",)}
"""What `platform.machine()` says where a target's files run; those of `native` are taken to run here."""


def runs_here(name: str) -> bool:
    """Whether the files made for this target can be loaded by this process."""
    return name == "native" or platform.machine() in MACHINES.get(name, ())


def target_of(name: str) -> Target:
    """The target of this name; `native` asks the compiler what this machine has.

    Raises SettingError for another word, MissingExtraError without any compiler.
    """
    if name in TARGETS:
        return TARGETS[name]
    if name != "native":
        raise SettingError(f"target: there is no {name!r}, the words are native, {', '.join(TARGETS)}.")
    macros = native_macros()
    if "__AVX512BW__" in macros and "__AVX512F__" in macros:
        size, registers = 64, 24
    elif "__AVX2__" in macros:
        size, registers = 32, 12
    else:
        size, registers = 16, 24 if "__aarch64__" in macros else 12
    return Target("native", size, registers, native_flags(), ("-mcpu=native",))


def native_flags() -> tuple[str, ...]:
    return ("-mcpu=native",) if os.uname().machine == "aarch64" else ("-march=native",)


@cache
def native_macros() -> str:
    """What the compiler defines for this machine."""
    compiler = find_compiler()
    flags = ("-mcpu=native",) if "ziglang" in compiler else native_flags()
    done = subprocess.run([*compiler, *flags, "-dM", "-E", "-xc", os.devnull], capture_output=True, text=True)
    if done.returncode:
        raise WorkError(f"compiler: {' '.join(compiler)} does not run ({first_error(done.stderr)}); set CC to another.")
    return done.stdout


def find_compiler(foreign: bool = False) -> tuple[str, ...]:
    """The command of the C compiler: $CC, else cc, gcc or clang, else ziglang's; foreign: only ziglang's.

    Raises MissingExtraError when there is none, SettingError for a CC that is not there.
    """
    if not foreign:
        chosen = tuple(os.environ.get("CC", "").split())
        if chosen and not shutil.which(chosen[0]):
            raise SettingError(f"CC: there is no {chosen[0]!r} to run, must be a C compiler; correct CC or unset it.")
        if chosen:
            return chosen
        for word in ("cc", "gcc", "clang"):
            if shutil.which(word):
                return (word,)
    if find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    need = "code for another machine needs ziglang" if foreign else "there is no C compiler (cc, gcc or clang)"
    raise MissingExtraError(f"compiler: {need}; pip install 'prunelle[compiler]'.")


def compile_c(source: str, target: Target, exports: tuple[str, ...]) -> Path:
    """The library made of a C file, from the cache where the same was compiled before.

    exports: names of functions that a .wasm file keeps. Returns the path of a file in the cache: copy it, it may go.
    Raises MissingExtraError without a compiler, WorkError with the compiler's first complaint, DiskError.
    """
    compiler = find_compiler(foreign=target.cc is None or not runs_here(target.name))
    flags = command_flags(compiler, target, exports)
    key = hashlib.sha256("\0".join([source, *compiler, *flags, version(compiler)]).encode()).hexdigest()
    if target.name == "native":
        key = hashlib.sha256((key + native_macros()).encode()).hexdigest()
    if (before := kept(key, target.suffix)) is not None:
        return before
    with workshop() as folder:
        text, out = folder / "net.c", folder / f"net{target.suffix}"
        text.write_text(source)
        command = [*compiler, *flags, "-o", str(out), str(text)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not out.exists():
            raise WorkError(f"compiler: {compiler[0]} failed ({first_error(done.stderr)}); set CC to another compiler.")
        return keep(out, key, target.suffix)


def command_flags(compiler: tuple[str, ...], target: Target, exports: tuple[str, ...]) -> tuple[str, ...]:
    """Every flag between the compiler and the file names."""
    zig = "ziglang" in compiler
    machine = target.zig if zig else target.cc
    assert machine is not None
    quiet = ("-Wno-psabi",) if not zig else ()
    if target.suffix == ".wasm":
        # A reactor has no main: the file asks nothing of whoever loads it, a web page included.
        link: tuple[str, ...] = ("-mexec-model=reactor", *(f"-Wl,--export={name}" for name in exports))
    else:
        link = ("-shared", "-fPIC")
    return (*FLAGS, *quiet, *machine, *link)


@cache
def version(compiler: tuple[str, ...]) -> str:
    return subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout


def first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "error" in line.lower()] or text.strip().splitlines()
    return lines[0][:200] if lines else "no message"
