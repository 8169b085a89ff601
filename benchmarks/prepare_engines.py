"""Do local, Ray and Spark prepare the same shards, also when each goes on where another was killed? And how fast?

python benchmarks/prepare_engines.py [--data-dir DIR] [--images 24000] [--size 64] [--workers 2] [--rounds 3]
                                     [--engines local,ray,spark] [--folder DIR]

A folder of JPEG and PNG files of 96 to 160 pixels a side is made from CIFAR-10 once (below --folder, else for this run
only): five sixths in train/, the rest in val/. Each engine prepares it `rounds` times, in turns, as the command
`prunelle prepare`; seconds are of the whole process. Then one folder is begun on the first engine, which is killed with
its process group at a third of the shards, goes on on the second until two thirds, and is finished on the third. Every
file must have the same SHA-256 in all of them. Last, one plain epoch is read from the files and from the shards.
Prints JSON and exits 1 where a file differs or there were fewer than 20,000 images.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from prunelle.data.arrays import ArraySplit
from prunelle.data.folder import load_folder
from prunelle.data.load import load_task
from prunelle.data.shard_split import load_shards
from prunelle.data.task import Split
from prunelle.measure.environment import environment

BAR_IMAGES = 20_000
BATCH = 128
LARGEST, SMALLEST = 160, 96


def main() -> int:
    asked = arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="prepare-") as folder:
        source = asked.folder or Path(folder) / "images"
        if not source.exists():
            write_images(source, asked.data_dir, asked.images)
        engines = asked.engines.split(",")
        seconds: dict[str, list[float]] = {engine: [] for engine in engines}
        digests = {}
        for _ in range(asked.rounds):
            for engine in engines:
                out = Path(folder) / engine
                shutil.rmtree(out, ignore_errors=True)
                begun = time.perf_counter()
                subprocess.run(command(source, out, engine, asked), check=True, stdout=subprocess.DEVNULL)
                seconds[engine].append(time.perf_counter() - begun)
                digests[f"{engine} {len(seconds[engine])}"] = digest(out)
        made = Path(folder) / "passed-on"
        killed = pass_on(source, made, engines, asked)
        digests["passed on"] = digest(made)
        found = told(asked, made, seconds, digests, killed) | {"epoch": epochs(source, made, asked.size)}
    print(json.dumps(found, indent=1))
    return 0 if found["identical"] and found["images"] >= BAR_IMAGES else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data-dir")
    parser.add_argument("--images", type=int, default=24_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default="local,ray,spark")
    parser.add_argument("--folder", type=Path)
    return parser.parse_args()


def write_images(folder: Path, data_dir: str | None, num: int) -> None:
    """CIFAR-10's training images, enlarged to sides of their own; every fourth is a PNG, the others are JPEG."""
    task = load_task("cifar10", data_dir=data_dir, augment=False)
    assert isinstance(task.train, ArraySplit)
    sides = np.random.default_rng(0).integers(SMALLEST, LARGEST + 1, (num, 2))
    part_of_it = Path(f"{folder}.part")
    for index in range(num):
        image = Image.fromarray(task.train.images[index].permute(1, 2, 0).numpy())
        label = task.class_names[int(task.train.labels[index])]
        place = part_of_it / ("val" if index % 6 == 5 else "train") / label
        place.mkdir(parents=True, exist_ok=True)
        ending = "png" if index % 4 == 0 else "jpg"
        image.resize(tuple(sides[index].tolist()), Image.Resampling.BICUBIC).save(place / f"{index:06d}.{ending}")
    part_of_it.rename(folder)


def command(source: Path, out: Path, engine: str, asked: argparse.Namespace) -> list[str]:
    line = [sys.executable, "-m", "prunelle", "prepare", str(source), str(out), "--size", str(asked.size), "--json"]
    return [*line, "--engine", engine, "--workers", str(asked.workers)]


def pass_on(source: Path, out: Path, engines: list[str], asked: argparse.Namespace) -> list[int]:
    """Prepare with each engine in turn, all but the last killed on the way. Returns the shards there at each kill."""
    num_shards = len(list((out.parent / engines[0]).glob("*.safetensors")))
    found = []
    for place, engine in enumerate(engines[:-1], 1):
        process = subprocess.Popen(
            command(source, out, engine, asked), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        while len(list(out.glob("*.safetensors"))) < num_shards * place / len(engines) and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found.append(len(list(out.glob("*.safetensors"))))
    subprocess.run(command(source, out, engines[-1], asked), check=True, stdout=subprocess.DEVNULL)
    return found


def digest(out: Path) -> str:
    """Of the names and bytes of every file that was prepared."""
    found = hashlib.sha256()
    for path in sorted(out.iterdir()):
        if path.suffix in (".safetensors", ".json"):
            found.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def told(
    asked: argparse.Namespace, made: Path, seconds: dict[str, list[float]], digests: dict[str, str], killed: list[int]
) -> dict:
    index = json.loads((made / "shards.json").read_text())
    shards = [shard for part in index["parts"].values() for shard in part]
    num = sum(count for shard in shards for _, count in shard["labels"])
    return {
        "images": num,
        "shards": len(shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "size": asked.size,
        "workers": asked.workers,
        "engines": {
            engine: {
                "seconds_median": round(statistics.median(all_), 2),
                "seconds": [round(one, 2) for one in all_],
                "images_per_second": round(num / statistics.median(all_)),
            }
            for engine, all_ in seconds.items()
        },
        "shards_at_kills": killed,
        "identical": len(set(digests.values())) == 1,
        "sha256": digests,
        "environment": environment(),
    }


def epochs(source: Path, made: Path, size: int) -> dict:
    """Seconds of a plain epoch of train, from the files and from the shards, in turns."""
    plain = load_folder(source, image_size=size, memory_bytes=0).train
    shards = load_shards(made, memory_bytes=0).train
    seconds: dict[str, list[float]] = {"files": [], "shards": []}
    for _ in range(3):
        for name, split in (("files", plain), ("shards", shards)):
            seconds[name].append(epoch(split))
    medians = {name: statistics.median(all_) for name, all_ in seconds.items()}
    return {
        "images": len(plain),
        **{f"{name}_seconds": round(value, 3) for name, value in medians.items()},
        "ratio": round(medians["files"] / medians["shards"], 1),
    }


def epoch(split: Split) -> float:
    begun = time.perf_counter()
    for _ in split.epoch(BATCH, order=torch.Generator().manual_seed(0)):
        pass
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
