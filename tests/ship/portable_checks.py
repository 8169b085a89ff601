"""A shipped C folder under every tool that this machine has: compilers, sanitizers, valgrind, qemu, node.

Each check returns '' when all is well, else what is wrong in one line.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prunelle.files import read_sealed_json
from prunelle.ship.compiler import FLAGS, Target, target_of
from prunelle.ship.kernel_trials import aligned

ZIG = (sys.executable, "-m", "ziglang", "cc")
STATIC_AARCH64 = ("-target", "aarch64-linux-musl", "-static")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
JUDGE = Path(__file__).with_name("portable_judge.c")
NODE = Path(__file__).with_name("portable_run.mjs")


def absent(tool: str) -> str:
    """'' when a tool is here, else the reason why what needs it is left out."""
    if tool == "zig":
        return "" if find_spec("ziglang") else "no zig: pip install 'prunelle[compiler]'"
    return "" if shutil.which(tool) else f"no {tool} on PATH"


def name_of(folder: Path) -> str:
    return str(read_sealed_json(folder / "native.json")["name"])


def machine_flags(target: str, compiler: str) -> tuple[str, ...]:
    """Those that `compile_c` gives, -Wall and -Wextra among them."""
    machine: Target = target_of(target)
    flags = machine.zig if compiler == "zig" else machine.cc
    assert flags is not None
    return (*FLAGS, *flags)


def command(compiler: str) -> tuple[str, ...]:
    return ZIG if compiler == "zig" else (compiler,)


def run(words: tuple[str, ...], **more: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, capture_output=True, check=False, **more)  # type: ignore[call-overload, no-any-return]


def complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """The first line that says something; a silent success says nothing."""
    lines = (done.stderr + (done.stdout if done.returncode else b"")).decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    telling = [line for line in said if any(w in line for w in ("warning", "rror", "ERROR", "Invalid", "depends"))]
    if done.returncode:
        return f"exit {done.returncode}: {(telling or said or ['no word'])[0][:200]}"
    return (telling or said)[0][:200] if said else ""


def warnings_of(folder: Path, compiler: str, target: str, more: tuple[str, ...] = ()) -> str:
    """NAME.c and main.c compiled one by one: what the compiler says. more: flags behind the others."""
    with tempfile.TemporaryDirectory() as made:
        words = [*command(compiler), *machine_flags(target, compiler), *more, "-c", "-o", f"{made}/out.o"]
        for file in (f"{name_of(folder)}.c", "main.c"):
            said = complaint(run((*words, str(folder / file))))
            if said:
                return f"{file}: {said}"
    return ""


def program(folder: Path, out: Path, words: tuple[str, ...], main: Path | None = None) -> str:
    """Link NAME.c with main.c, or with another file, which gets the name as macros."""
    name = name_of(folder)
    judge = (f'-DHEADER="{name}.h"', f"-DNET(x)={name}_##x", f"-DSIZE(x)={name.upper()}_##x", f"-I{folder}")
    files = (str(folder / f"{name}.c"), str(main or folder / "main.c"))
    return complaint(run((*words, *(judge if main else ()), "-o", str(out), *files)))


def raw(images: Tensor) -> bytes:
    return images.contiguous().numpy().astype(np.float32).tobytes()


def classes(words: tuple[str, ...], images: Tensor) -> tuple[list[int], str]:
    """What a program prints for images (n, channels, height, width); and what is wrong."""
    done = run(words, input=raw(images))
    if done.returncode or done.stderr:
        return [], complaint(done)
    return [int(line) for line in done.stdout.split()], ""


def differing(found: list[int], expected: list[int]) -> str:
    if len(found) != len(expected):
        return f"{len(found)} classes for {len(expected)} images"
    wrong = sum(a != b for a, b in zip(found, expected, strict=True))
    return f"{wrong} of {len(expected)} classes differ" if wrong else ""


def compiled_and_run(folder: Path, out: Path, words: tuple[str, ...], start: tuple[str, ...], images: Tensor,
                     expected: list[int], main: Path | None = None) -> str:  # fmt: skip
    """Link, run, compare."""
    said = program(folder, out, words, main)
    if said:
        return f"build: {said}"
    found, said = classes((*start, str(out)), images)
    return said or differing(found, expected)


def strict_run(folder: Path, out: Path, images: Tensor, expected: list[int], more: tuple[str, ...] = ()) -> str:
    """gcc's sanitizers on portable_judge.c: workspaces of exactly the size asked, zeroed, garbage and fresh."""
    target = str(read_sealed_json(folder / "native.json")["target"])
    words = ("gcc", *machine_flags(target, "gcc"), *SANITIZE, *more)
    return compiled_and_run(folder, out, words, (), images, expected, JUDGE)


def valgrind_run(folder: Path, out: Path, images: Tensor, expected: list[int], main: Path | None = None) -> str:
    """A program built for x86-64-v3 under memcheck: no error, no leak, nothing suppressed. main: as in `program`."""
    words = ("gcc", *machine_flags("x86-64-v3", "gcc"), "-g")
    start = ("valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=all")
    return compiled_and_run(folder, out, words, start, images, expected, main)


def qemu_run(folder: Path, out: Path, images: Tensor, expected: list[int], more: tuple[str, ...] = ()) -> str:
    words = (*ZIG, *FLAGS, *STATIC_AARCH64, *more)
    return compiled_and_run(folder, out, words, ("qemu-aarch64",), images, expected)


def wasm_magic(folder: Path) -> str:
    """The shipped .wasm: magic and version."""
    start = (folder / f"{name_of(folder)}.wasm").read_bytes()[:8]
    return "" if start == b"\0asm\1\0\0\0" else f"begins with {start!r}"


def wasm_run(folder: Path, images: Tensor, expected: list[int]) -> str:
    """The shipped .wasm in node, as a web page would call it; its self-test first."""
    record = read_sealed_json(folder / "native.json")
    told = {key: record[key] for key in ("name", "workspace_bytes", "input_shape", "output_shape")}
    words = ("node", str(NODE), str(folder / record["library"]), json.dumps(told))
    found, said = classes(words, images)
    return said or differing(found, expected)


def writable_data(folder: Path, out: Path) -> str:
    """Symbols of NAME.c that can be written: whatever is kept between calls would be one."""
    words = ("gcc", *machine_flags("x86-64-v3", "gcc"), "-O0", "-fno-pic", "-c", "-o", str(out))
    said = complaint(run((*words, str(folder / f"{name_of(folder)}.c"))))
    symbols = run(("nm", str(out))).stdout.decode().split("\n")
    found = [line for line in symbols if len(line.split()) == 3 and line.split()[1] in "bBdDcCsSgG"]
    return said or (f"can be written: {found[0]}" if found else "")


def outputs_in(folder: Path, images: Tensor, byte: int, repeats: int = 1) -> Tensor:
    """What the shipped library gives in a workspace of its own that was filled with one byte."""
    record = read_sealed_json(folder / "native.json")
    library = ctypes.CDLL(str(folder / record["library"]))
    go = getattr(library, f"{record['name']}_run")
    go.argtypes, go.restype = [ctypes.c_void_p] * 3, None
    place, held = aligned(record["workspace_bytes"])
    held.fill_(byte)
    out = torch.empty(len(images), int(np.prod(record["output_shape"])))
    images = images.contiguous()
    for _ in range(repeats):
        for i in range(len(images)):
            go(images[i].data_ptr(), out[i].data_ptr(), place)
    return out


def garbage_changes(folder: Path, images: Tensor) -> str:
    """Bit for bit: zeroes, ones (0xff: NaN), and a large float everywhere (0x7f)."""
    zeroed = outputs_in(folder, images, 0)
    if not torch.isfinite(zeroed).all():
        return "an output is not finite"
    wrong = [hex(byte) for byte in (0xFF, 0x7F, 0x55) if not torch.equal(outputs_in(folder, images, byte), zeroed)]
    return f"another output in a workspace full of {', '.join(wrong)}" if wrong else ""


def threads_disturb(folder: Path, images: Tensor, count: int = 4, repeats: int = 20) -> str:
    """Threads that run the library at once give what one gives alone, bit for bit."""
    alone, found = outputs_in(folder, images, 0), dict[int, Tensor]()
    start = threading.Barrier(count)

    def work(number: int) -> None:
        start.wait()
        found[number] = outputs_in(folder, images.roll(number, 0), number, repeats)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    wrong = [n for n in range(count) if n not in found or not torch.equal(found[n].roll(-n, 0), alone)]
    return f"{len(wrong)} of {count} threads give another output" if wrong else ""
