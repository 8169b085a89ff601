"""Bar 7: the C of whole networks under every compiler, sanitizer and machine that is here.

python benchmarks/portable.py [--net NET ...] [--model NET=FOLDER ...] [--data-dir D] [--images 100] [--folder DIR]
    [--precision fp32 int16] [--json FILE]

For each network and precision: NAME.c and main.c without a word from gcc and zig at -Wall -Wextra; main.c under
valgrind, and a stricter program whose workspace has exactly the size asked, fresh from malloc; that program under gcc's
sanitizers of addresses and undefined behaviour; equal outputs whatever the workspace held, and from four threads at
once; the same classes as PyTorch here, under qemu for aarch64, and in node for wasm32. int16 may differ from PyTorch in
one of 200 classes, and must give the same classes everywhere.
Weights are random, nine in ten zero, unless --model brings a saved folder. Images are test images of MNIST and CIFAR-10
where --data-dir or PRUNELLE_DATA has them, else noise; with random weights only those whose class PyTorch itself keeps
under a little noise before every layer, for a deep network of random weights makes a little much. A tool that is
missing is named as absent, which is no failure; exits 1 when something is wrong. About 15 minutes on two cores, and a
few more when zig makes its C library first.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ship"))

import portable_checks as checks

from prunelle.data.load import load_task
from prunelle.errors import PrunelleError
from prunelle.models.open import open_model
from prunelle.ship.native import build_native, load_native

NETS = {
    "lenet5": ("lenet5", (1, 28, 28), "mnist"),
    "resnet20": ("resnet20", (3, 32, 32), "cifar10"),
    "mobilenet_v2_cifar": ("mobilenet_v2_cifar", (3, 32, 32), "cifar10"),
    "mobilenetv3_small": ("timm:mobilenetv3_small_100", (3, 64, 64), ""),
}
"""Name -> MODEL, input shape, data."""
NO_INT16 = {"mobilenetv3_small": "hardswish"}
"""Networks that int16 refuses, and the word its error must hold."""
TARGETS = ("native", "x86-64-v3", "aarch64-linux", "wasm32-wasi")
HERE = TARGETS[:2]
NOISE, DRAWS = 2**-12, 4
"""To find images whose class is sure: noise before every layer, as a share of a channel's largest input, and how
often that is tried."""
SLOW_IMAGES = 3
"""Under valgrind, which is fifty times slower."""


@dataclass(frozen=True)
class Row:
    """said: '' when all is well. left_out: why nothing was tried."""

    net: str
    precision: str
    what: str
    tool: str
    said: str
    left_out: str = ""
    seconds: float = 0.0

    @property
    def result(self) -> str:
        if self.left_out:
            return f"absent: {self.left_out}"
        return f"FAILED: {self.said}" if self.said else "ok"


@dataclass(frozen=True)
class Case:
    """folders: target -> shipped folder; expected: classes that the x86-64-v3 library gives here."""

    net: str
    precision: str
    folders: dict[str, Path]
    images: Tensor
    expected: list[int]


def sparse(model: nn.Module, images: Tensor) -> nn.Module:
    """Nine in ten weights at zero, batch norm that has seen the images, and a last bias with which classes differ."""
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight *= torch.rand(weight.shape, generator=chance) < 0.1
                weight *= 10**0.5
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0
        model.train()(images)
        last = [part for part in model.modules() if isinstance(part, nn.Linear)][-1]
        last.bias -= model.eval()(images).mean(0)
    return model


def sure(model: nn.Module, images: Tensor) -> Tensor:
    """Those of `images` (N, channels, height, width) whose class stays the same under a little noise, judged before any
    library is built."""
    chance = torch.Generator().manual_seed(2)

    def disturb(_: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        x = inputs[0]
        most = x.abs().amax([axis for axis in range(x.ndim) if axis != 1], keepdim=True)
        return x + NOISE * most * torch.randn(x.shape, generator=chance)

    noisy = copy.deepcopy(model)
    for part in noisy.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_pre_hook(disturb)
    with torch.inference_mode():
        classes = model(images).argmax(1)
        return images[torch.stack([noisy(images).argmax(1) == classes for _ in range(DRAWS)]).all(0)]


def images_of(data: str, shape: tuple[int, ...], num_images: int, data_dir: str | None) -> tuple[Tensor, str]:
    """(n, channels, height, width) test images as the network reads them, and what they are."""
    if data:
        try:
            task = load_task(data, data_dir=data_dir)
            return next(iter(task.test.epoch(num_images)))[0], data
        except PrunelleError as error:
            print(f"{data}: {error}; noise instead", flush=True)
    return torch.randn(num_images, *shape, generator=torch.Generator().manual_seed(1)), "noise"


def attempt(net: str, precision: str, what: str, tools: tuple[str, ...], check: Callable[[], str]) -> Row:
    """Run a check where its tools are here."""
    reason = next(filter(None, map(checks.absent, tools)), "")
    begun = perf_counter()
    try:
        said = "" if reason else check()
    except PrunelleError as error:
        said = str(error)
    row = Row(net, precision, what, " + ".join(tools) or "python", said, reason, round(perf_counter() - begun, 1))
    print(f"{net:20} {precision:6} {what:44} {row.tool:20} {row.result} ({row.seconds} s)", flush=True)
    return row


def build(net: str, model: nn.Module, images: Tensor, precision: str, folder: Path) -> Iterator[Row]:
    """The shipped folders, one a target."""
    for target in TARGETS:
        make = partial(
            build_native, model, images, folder / target, precision=precision, target=target,
            calibration=images if precision == "int16" else None,
        )  # fmt: skip
        yield attempt(net, precision, f"built for {target}", ("gcc" if target in HERE else "zig",), silent(make))


def silent(make: Callable[[], None]) -> Callable[[], str]:
    def check() -> str:
        make()
        return ""

    return check


def checked(case: Case, work: Path) -> Iterator[Row]:
    """Every check of one network."""
    baseline, few = case.folders["x86-64-v3"], slice(0, SLOW_IMAGES)
    tried = partial(attempt, case.net, case.precision)
    for target, folder in case.folders.items():
        for compiler in ("gcc", "zig") if target in HERE else ("zig",):
            check = partial(checks.warnings_of, folder, compiler, target)
            yield tried(f"no warning, {target}", (compiler,), check)
    few_images, few_classes = case.images[few], case.expected[few]
    for target in HERE:
        check = partial(checks.strict_run, case.folders[target], work / "strict", case.images, case.expected)
        yield tried(f"sanitizers, garbage, {target}", ("gcc",), check)
    for what, main in (("memcheck, main.c", None), ("memcheck, fresh workspace", checks.JUDGE)):
        check = partial(checks.valgrind_run, baseline, work / "memcheck", few_images, few_classes, main)
        yield tried(what, ("gcc", "valgrind"), check)
    for target in HERE:
        folder = case.folders[target]
        yield tried(f"same output in garbage, {target}", (), partial(checks.garbage_changes, folder, case.images))
        yield tried(f"same from 4 threads at once, {target}", (), partial(checks.threads_disturb, folder, case.images))
    yield tried("nothing that can be written", ("gcc", "nm"), partial(checks.writable_data, baseline, work / "net.o"))
    plain = ("gcc", "-O2", "-march=native", "-std=gnu99", "-Wall", "-Wextra")
    yield tried(
        "same classes, plain -O2", ("gcc",),
        partial(checks.compiled_and_run, baseline, work / "plain", plain, (), case.images, case.expected),
    )  # fmt: skip
    arm = case.folders["aarch64-linux"]
    yield tried(
        "same classes, aarch64", ("zig", "qemu-aarch64"),
        partial(checks.qemu_run, arm, work / "arm", case.images, case.expected),
    )  # fmt: skip
    wasm = case.folders["wasm32-wasi"]
    yield tried("magic of the .wasm", ("zig",), partial(checks.wasm_magic, wasm))
    yield tried("same classes, wasm32", ("zig", "node"), partial(checks.wasm_run, wasm, case.images, case.expected))


def against_torch(model: nn.Module, folder: Path, images: Tensor, precision: str) -> tuple[list[int], str]:
    """The library's classes here, and whether they are PyTorch's."""
    found = load_native(folder)(images).flatten(1).argmax(1)
    with torch.inference_mode():
        equal = int((model(images).flatten(1).argmax(1) == found).sum())
    least = len(images) if precision == "fp32" else 0.995 * len(images)
    wrong = f"{equal} of {len(images)} classes are PyTorch's" if equal < least else ""
    return found.tolist(), wrong or ("all one class" if len(set(found.tolist())) == 1 else "")


def network(net: str, asked: argparse.Namespace, root: Path) -> Iterator[Row]:
    """All rows of one network."""
    spec, shape, data = NETS[net]
    folder = dict(pair.split("=", 1) for pair in asked.model).get(net)
    opened = open_model(folder) if folder else open_model(spec, input_shape=shape)
    images, source = images_of(data, shape, asked.images if folder else 3 * asked.images, asked.data_dir)
    model = opened.model.eval()
    if not folder:
        model = sparse(opened.model, images).eval()
        images = sure(model, images)[: asked.images]
        if len(images) < asked.images:
            said = f"PyTorch is sure of {len(images)} images, must be {asked.images}; give a --model"
            yield Row(net, asked.precision[0], "images to judge by", "python", said)
            return
    print(f"{net}: {folder or spec + ', random weights, 90 % zeros'}; {len(images)} images of {source}", flush=True)
    for precision in asked.precision:
        work = root / net / precision
        if precision == "int16" and net in NO_INT16:
            yield attempt(net, precision, "refused by name", (), partial(refusal, net, model, images, work))
            continue
        built = list(build(net, model, images, precision, work))
        yield from built
        if any(row.said or row.left_out for row in built):
            continue
        folders = {target: work / target for target in TARGETS}
        for target in HERE:
            expected, wrong = against_torch(model, folders[target], images, precision)
            yield attempt(net, precision, f"same classes as PyTorch, {target}", (), lambda wrong=wrong: wrong)
        yield from checked(Case(net, precision, folders, images, expected), work)


def refusal(net: str, model: nn.Module, images: Tensor, folder: Path) -> str:
    try:
        build_native(model, images, folder, precision="int16", calibration=images, target="x86-64-v3")
    except PrunelleError as error:
        return "" if NO_INT16[net] in str(error) else f"refused for another reason: {error}"
    return "not refused"


def table(rows: list[Row]) -> str:
    """What, by which tool, and per network and precision how it went."""
    columns = sorted({(row.net, row.precision) for row in rows}, key=lambda c: (list(NETS).index(c[0]), c[1]))
    kinds = list(dict.fromkeys((row.what, row.tool) for row in rows))
    found = {(row.what, row.tool, row.net, row.precision): row for row in rows}
    lines = [f"{'what':44}{'tool':22}" + "".join(f"{net[:14] + ' ' + precision:22}" for net, precision in columns)]
    for what, tool in kinds:
        cells = [found.get((what, tool, *column)) for column in columns]
        words = ["-" if row is None else row.result.split(":")[0] for row in cells]
        lines.append(f"{what:44}{tool:22}" + "".join(f"{word:22}" for word in words))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--model", nargs="+", default=[], metavar="NET=FOLDER")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "int16"), default=["fp32", "int16"])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--data-dir", default=os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)[0] or None)
    parser.add_argument("--folder", type=Path, help="where to keep what is made")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        rows = [row for net in asked.net for row in network(net, asked, asked.folder or Path(made))]
    print(f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores\n{table(rows)}")
    for row in rows:
        if row.said:
            print(f"FAILED {row.net} {row.precision} {row.what}, {row.tool}: {row.said}")
    for reason in sorted({row.left_out for row in rows if row.left_out}):
        print(f"absent: {reason}")
    if asked.json:
        asked.json.write_text(json.dumps([{**vars(row), "result": row.result} for row in rows], indent=1))
    failed = sum(bool(row.said) for row in rows)
    print(f"{len(rows)} checks, {failed} failed, {sum(bool(row.left_out) for row in rows)} left out")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
