"""A hundred files made to hurt: each attack writes one and says how a user would run into it.

Those that carry code would leave a file named by MARKER behind if it ran.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from .folders import header, honest, put_text, put_weights, resealed, tensor

MARKER = "ran"
Attack = Callable[[Path], list[str]]
"""Writes into an empty folder, which is also the current one. Returns the command line that meets it."""


class Boom:
    """A pickle of it runs `how` on loading."""

    def __init__(self, how: Callable, *arguments: object) -> None:
        self.call = how, arguments

    def __reduce__(self) -> tuple:
        return self.call


def touch() -> Boom:
    return Boom(os.system, f"touch {MARKER}")


BOOMS: dict[str, Callable[[], object]] = {
    "os.system": touch,
    "eval": lambda: Boom(eval, f"open('{MARKER}', 'w')"),
    "exec": lambda: Boom(exec, f"open('{MARKER}', 'w')"),
    "open": lambda: Boom(open, MARKER, "w"),
    "os.mkdir": lambda: Boom(os.mkdir, MARKER),
    "in a dict": lambda: {"fc1.weight": touch()},
    "in a list": lambda: [[[touch()]]],
    "as a key": lambda: OrderedDict([(("a", touch()), torch.zeros(1))]),
    "beside weights": lambda: {"state_dict": {"fc1.weight": torch.zeros(3)}, "epoch": touch()},
    "torch.load": lambda: Boom(torch.load, "other.pth", None, None, False),
}


def pickles() -> Iterator[tuple[str, Attack]]:
    """As weights in every wrapping, and as our own files."""
    for how, make in BOOMS.items():
        yield f"pth zip {how}", lambda at, make=make: weights(torch_save(at / "w.pth", make(), True))
        yield f"pth legacy {how}", lambda at, make=make: weights(torch_save(at / "w.pt", make(), False))
    for protocol in (0, 1, 2, 5):
        raw = pickle.dumps(touch(), protocol)
        yield f"bare pickle {protocol}", lambda at, raw=raw: weights(written(at / "w.pth", raw))
    raw = pickle.dumps(touch())
    yield "pickle named safetensors", lambda at: weights(written(at / "w.safetensors", raw))
    yield "pickle in a sealed folder", lambda at: sealed_weights(at, raw)
    yield "pickle as model.safetensors", lambda at: in_place_of(at, "model.safetensors", raw)
    yield "pickle as model.json", lambda at: in_place_of(at, "model.json", raw)
    yield "pickle as recipe", lambda at: ["run", str(written(at / "r.json", raw)), "--out", "out"]
    yield "pickle as npz", lambda at: data(written(at / "x.npz", raw))
    yield "npz of objects", lambda at: data(objects(at / "x.npz"))


def bombs() -> Iterator[tuple[str, Attack]]:
    """Small files that claim, or unpack to, far more than memory."""
    yield "pth whose record unpacks to 1 GB", lambda at: weights(zip_bomb(at))
    yield "npz whose member unpacks to 1 GB", lambda at: data(npz_bomb(at / "x.npz"))
    yield "sparse file of 1 TB as weights", lambda at: sparse(at, "model.safetensors", 2**40)
    yield "sparse file of 1 TB as manifest", lambda at: sparse(at, "model.json", 2**40)
    yield "recipe of 1 GB", lambda at: ["run", str(hollow(at / "r.json", 2**30)), "--out", "out"]
    for size, name in ((60_000, "60,000"), (2**31 - 1, "2**31 - 1")):
        yield f"png of {name} a side", lambda at, size=size: data(png(at / "pets", size))


HEADERS: dict[str, bytes] = {
    "huge header length": header("{}", length=2**63 - 1),
    "header length of 99 MB": header("{}", length=99_000_000),
    "header length beyond the file": header("{}", b"\0" * 8, length=100),
    "negative header length": header("{}", length=2**64 - 1),
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "header is no JSON": header("{,}"),
    "header is a list": header("[]"),
    "deep header": header('{"a":' * 20_000 + "1" + "}" * 20_000),
    "shape that wraps": header({"a": tensor("F32", [2**32, 2**32], [0, 0])}),
    "shape that wraps to its bytes": header({"a": tensor("F32", [2**62, 4, 1], [0, 64])}, bytes(64)),
    "shape beyond 64 bits": header({"a": tensor("F32", [2**70], [0, 4])}, bytes(4)),
    "negative shape": header({"a": tensor("F32", [-1], [0, 4])}, bytes(4)),
    "fractional shape": header({"a": tensor("F32", [1.5], [0, 6])}, bytes(6)),
    "200 axes": header({"a": tensor("F32", [1] * 200, [0, 4])}, bytes(4)),
    "offsets overlap": header({"a": tensor("F32", [2], [0, 8]), "b": tensor("F32", [2], [4, 12])}, bytes(12)),
    "offsets backwards": header({"a": tensor("F32", [1], [4, 0])}, bytes(4)),
    "offsets beyond the file": header({"a": tensor("F32", [2**28], [0, 2**30])}, bytes(4)),
    "hole between tensors": header({"a": tensor("F32", [1], [0, 4]), "b": tensor("F32", [1], [8, 12])}, bytes(12)),
    "bytes after the last": header({"a": tensor("F32", [1], [0, 4])}, bytes(64)),
    "unknown dtype": header({"a": tensor("F33", [1], [0, 4])}, bytes(4)),
    "4-bit dtype": header({"a": tensor("F4", [2], [0, 1])}, bytes(1)),
    "complex dtype": header({"a": tensor("C64", [1], [0, 8])}, bytes(8)),
    "duplicate keys": header('{"a":%s,"a":%s}' % ((json.dumps(tensor("F32", [1], [0, 4])),) * 2), bytes(4)),
    "name that clears the terminal": header({"\x1b[2J\x07": tensor("F32", [1], [0, 4])}, bytes(4)),
    "name of 1 MB": header({"a" * 2**20: tensor("F32", [1], [0, 4])}, bytes(4)),
}


def headers() -> Iterator[tuple[str, Attack]]:
    for name, raw in HEADERS.items():
        yield f"weights: {name}", lambda at, raw=raw: weights(written(at / "w.safetensors", raw))
        yield f"sealed folder: {name}", lambda at, raw=raw: sealed_weights(at, raw)


def grow(manifest: dict) -> None:
    manifest["cuts"] = cut("fc1.weight", 0, [0] * 1_000_000)


def cut(name: str, axis: object, kept: object) -> dict:
    return {"tensors": [{"tensor": name, "axis": axis, "kept": kept}], "attributes": []}


def attribute(module: str, name: str, value: object) -> dict:
    return {"tensors": [], "attributes": [{"module": module, "name": name, "value": value}]}


def builder(**changes: object) -> Callable[[dict], None]:
    return lambda manifest: manifest["builder"].update(changes)


def setting(**changes: object) -> Callable[[dict], None]:
    return lambda manifest: manifest.update(changes)


SCALE = {"mean": [0.0], "std": [1.0], "value_range": [0, 1], "layout": "CHW"}
MANIFESTS: dict[str, Callable[[dict], None]] = {
    "2**24 classes on VGG": builder(spec="vgg16_bn_cifar", input_shape=[3, 32, 32], num_classes=2**24),
    "2**24 classes": builder(num_classes=2**24),
    "images of 2**60 pixels": builder(input_shape=[2**20] * 3),
    "images of 2**60 pixels on LeNet-5": builder(spec="lenet5", input_shape=[2**20] * 3),
    "images of 2**60 pixels on ResNet": builder(spec="resnet110", input_shape=[2**20] * 3),
    "no images": builder(input_shape=[0, 8, 8]),
    "classes as text": builder(num_classes="10"),
    "classes as true": builder(num_classes=True),
    "classes beyond 64 bits": builder(num_classes=2**70),
    "builder that is a file": builder(spec="evil.py:make"),
    "builder with a path": builder(spec="../../../evil.py:make"),
    "builder that is a folder": builder(spec="."),
    "builder from the network": builder(spec="timm:hf-hub:someone/something"),
    "builder of no name": builder(spec=""),
    "builder with a null byte": builder(spec="lenet5\0"),
    "builder with a lone surrogate": builder(spec="lenet\ud800"),
    "unknown builder key": builder(pickle="x"),
    "packed shape that overflows": setting(packed={"fc1.weight": [2**20] * 4}),
    "packed shape of 2**20 axes": setting(packed={"fc1.weight": [1] * 2**20}),
    "packed negative": setting(packed={"fc1.weight": [-1, -1]}),
    "packed of nothing stored": setting(packed={"nothing": [1]}),
    "alias to itself": setting(aliases={"a": "a"}),
    "aliases in a circle": setting(aliases={"a": "b", "b": "a"}),
    "a million aliases": setting(aliases={f"a{n}": "fc1.weight" for n in range(200_000)}),
    "files with a path": setting(files={"../../../etc/passwd": "0" * 64}),
    "files absent": setting(files={}),
    "schema 99": setting(schema_version=99),
    "unknown key": setting(run="rm"),
    "cut that grows": grow,
    "cut of no tensor": setting(cuts=cut("nothing", 0, [0])),
    "cut of no axis": setting(cuts=cut("fc1.weight", 7, [0])),
    "cut of negative axis": setting(cuts=cut("fc1.weight", -1, [0])),
    "cut beyond": setting(cuts=cut("fc1.weight", 0, [10**12])),
    "cut beyond 64 bits": setting(cuts=cut("fc1.weight", 0, [2**70])),
    "cut to nothing": setting(cuts=cut("fc1.weight", 0, [])),
    "cut twice the same": setting(cuts=cut("fc1.weight", 0, [0, 0])),
    "attribute forward": setting(cuts=attribute("fc1", "forward", 1)),
    "attribute __class__": setting(cuts=attribute("fc1", "__class__", 1)),
    "attribute __dict__": setting(cuts=attribute("", "__dict__", 1)),
    "attribute training": setting(cuts=attribute("fc1", "training", 1)),
    "attribute _parameters": setting(cuts=attribute("fc1", "_parameters", 1)),
    "attribute grows": setting(cuts=attribute("fc1", "out_features", 2**40)),
    "attribute of no module": setting(cuts=attribute("nothing", "out_features", 1)),
    "attribute zero": setting(cuts=attribute("fc1", "out_features", 0)),
    "preprocessing with huge mean": setting(preprocessing=SCALE | {"mean": [10**400]}),
    "preprocessing with std 0": setting(preprocessing=SCALE | {"std": [0]}),
    "preprocessing empty": setting(preprocessing={}),
    "preprocessing of 2 channels in a list": setting(preprocessing=SCALE | {"mean": [[1], [2]]}),
    "class names as numbers": setting(class_names=[1, 2]),
}
TEXTS: dict[str, tuple[str, str]] = {
    "integer of 5,000 digits": ("class_names", "1" + "0" * 5000),
    "deep lists": ("class_names", "[" * 100_000 + "]" * 100_000),
    "NaN": ("preprocessing", '{"mean":[NaN],"std":[1],"value_range":[0,1],"layout":"CHW"}'),
    "Infinity": ("preprocessing", '{"mean":[0],"std":[Infinity],"value_range":[0,1],"layout":"CHW"}'),
    "1e999": ("preprocessing", '{"mean":[1e999],"std":[1],"value_range":[0,1],"layout":"CHW"}'),
    "no JSON": ("class_names", "]]"),
}


def manifests() -> Iterator[tuple[str, Attack]]:
    """Every seal and hash is right; only what they seal is not."""
    for name, change in MANIFESTS.items():
        yield f"manifest: {name}", lambda at, change=change: sealed_manifest(at, change)
    for name, (key, text) in TEXTS.items():
        yield f"manifest: {name}", lambda at, key=key, text=text: sealed_text(at, key, text)


def odd_files() -> Iterator[tuple[str, Attack]]:
    """Things in place of files that would hang or confuse a reader."""
    for name in ("model.json", "model.safetensors"):
        yield f"pipe as {name}", lambda at, name=name: replaced(at, name, os.mkfifo)
        yield f"folder as {name}", lambda at, name=name: replaced(at, name, os.mkdir)
        yield f"link to itself as {name}", lambda at, name=name: replaced(at, name, lambda path: os.symlink(path, path))
        yield f"/dev/zero as {name}", lambda at, name=name: replaced(at, name, lambda p: os.symlink("/dev/zero", p))
        yield f"/etc/passwd as {name}", lambda at, name=name: replaced(at, name, lambda p: os.symlink("/etc/passwd", p))
    yield "pipe as weights", lambda at: weights(made(at / "w.pth", os.mkfifo))
    yield "folder as weights", lambda at: weights(made(at / "w.pth", os.mkdir))
    yield "pipe as recipe", lambda at: ["run", str(made(at / "r.json", os.mkfifo)), "--out", "out"]
    yield "pipe as npz", lambda at: data(made(at / "x.npz", os.mkfifo))
    yield "pipe as image", lambda at: data(piped_image(at / "pets"))
    yield "pipe as recipe.json", lambda at: ["report", str(claimed(at / "o", os.mkfifo))]
    yield (
        "pipe as recipe.json in --out",
        lambda at: [*["train", "lenet_300_100", "--data", "digits", "--out", str(claimed(at / "o", os.mkfifo))]],
    )
    yield (
        "pipe as recipe.json in compare",
        lambda at: [*["compare", str(claimed(honest(at / "o"), os.mkfifo)), str(honest(at / "m"))]],
    )


def attacks() -> dict[str, Attack]:
    """All of them, by name, in a mixed order that never changes."""
    found = [*pickles(), *bombs(), *headers(), *manifests(), *odd_files()]
    random.Random(0).shuffle(found)
    named = dict(found)
    assert len(named) == len(found)
    return named


# How a user meets the file.


def weights(path: Path) -> list[str]:
    return ["measure", "lenet_300_100", "--weights", str(path)]


def data(path: Path) -> list[str]:
    return ["train", "lenet_300_100", "--data", str(path), "--epochs", "1", "--out", "out"]


def measured(folder: Path) -> list[str]:
    return ["measure", str(folder)]


# What is written.


def written(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


def made(path: Path, make: Callable) -> Path:
    make(path)
    return path


def hollow(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def sparse(at: Path, name: str, size: int) -> list[str]:
    hollow(honest(at / "m") / name, size)
    return measured(at / "m")


def torch_save(path: Path, content: object, as_zip: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    return path


def sealed_weights(at: Path, raw: bytes) -> list[str]:
    put_weights(honest(at / "m"), raw)
    return measured(at / "m")


def in_place_of(at: Path, name: str, raw: bytes) -> list[str]:
    (honest(at / "m") / name).write_bytes(raw)
    return measured(at / "m")


def sealed_manifest(at: Path, change: Callable[[dict], None]) -> list[str]:
    (at / "evil.py").write_text(f"open('{MARKER}', 'w')\n")
    resealed(honest(at / "m", sparse=True) / "model.json", change)
    return measured(at / "m")


def sealed_text(at: Path, key: str, text: str) -> list[str]:
    put_text(honest(at / "m") / "model.json", key, text)
    return measured(at / "m")


def replaced(at: Path, name: str, make: Callable) -> list[str]:
    path = honest(at / "m") / name
    path.unlink()
    make(path)
    return measured(at / "m")


def claimed(out: Path, make: Callable) -> Path:
    out.mkdir(exist_ok=True)
    make(out / "recipe.json")
    return out


def objects(path: Path) -> Path:
    np.savez(path, images=np.array([touch()] * 3, dtype=object), labels=np.arange(3), allow_pickle=True)
    return path


def npz_bomb(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824, 1, 1), }".ljust(117) + b"\n"
        with archive.open("images.npy", "w", force_zip64=True) as member:
            member.write(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text)
            for _ in range(64):
                member.write(bytes(2**24))
        archive.writestr("labels.npy", b"")
    return path


def zip_bomb(at: Path) -> Path:
    """A state dict whose one storage is deflated zeros."""
    torch.save({"fc1.weight": torch.zeros(4)}, at / "small.pth")
    with zipfile.ZipFile(at / "small.pth") as small, zipfile.ZipFile(at / "w.pth", "w", zipfile.ZIP_DEFLATED) as large:
        for info in small.infolist():
            content = small.read(info)
            if info.filename.endswith("data/0"):
                with large.open(info.filename, "w", force_zip64=True) as member:
                    for _ in range(64):
                        member.write(bytes(2**24))
            else:
                if info.filename.endswith("data.pkl"):
                    content = content.replace(b"K\x04", b"J\0\0\0\x10")  # 4 -> 2**28 floats
                large.writestr(info.filename, content)
    return at / "w.pth"


def png(root: Path, size: int) -> Path:
    """Two classes of small images, one of which claims another size."""
    import zlib

    from PIL import Image

    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (12, 12)).save(root / name / f"{number}.png")
    path = root / "cats" / "2.png"
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", size, size)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    return root


def piped_image(root: Path) -> Path:
    png(root, 12)
    (root / "cats" / "2.png").unlink()
    os.mkfifo(root / "cats" / "2.png")
    return root
