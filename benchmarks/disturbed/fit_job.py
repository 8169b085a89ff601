"""`prunelle fit` as a child of this process, which has torch imported already, and what must hold of its folder."""

import gc
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunelle.cli.main import answer
from prunelle.data.load import load_task
from prunelle.errors import PrunelleError
from prunelle.files import read_sealed_json
from prunelle.fit import delivery, fitting
from prunelle.fit.folder import Folder
from prunelle.ship.shipped import open_shipped

from .child import Ended, Kill, in_child
from .faults import Fault

SIZE, TIME = ["--max-kb", "10"], ["--max-ms", "0.02"]
DENSE = ["--data", "digits", "--set", "lr=0.002", "--set", "batch_size=64", "--set", "optimizer=adam"]
QUICK = {"min_seconds": 0.02, "min_samples": 30}
QUICK_WORDS = ["--minutes", "0.0001", "--runtimes", "native,packed"]
"""The least that a search does, in files that are opened at once; with no limit of time, which a moment's timing on a
busy machine would decide."""


@dataclass(frozen=True)
class Job:
    """A search as typed. quick: a short one with few timing samples; seed: of the command."""

    model: Path
    minutes: float
    quick: bool = False
    seed: int = 0

    def words(self, out: Path) -> list[str]:
        told = ["fit", str(self.model), "--data", "digits", *SIZE]
        told += QUICK_WORDS if self.quick else [*TIME, "--minutes", str(self.minutes)]
        return [*told, "--threads", "1", "--seed", str(self.seed), "--json", "--out", str(out)]


def warm_up() -> None:
    """Import what every start needs. Starts no thread: only then is forking safe."""
    import torch
    import torch._dynamo

    import prunelle.recipes.experiment
    import prunelle.recipes.fit  # noqa: F401

    torch.set_num_threads(1)
    load_task("digits")
    gc.freeze()


def train(folder: Path, epochs: int = 40) -> None:
    """The dense LeNet-300-100 of `prunelle quickstart`, with seed 0."""
    words = ["train", "lenet_300_100", *DENSE, "--epochs", str(epochs), "--threads", "1", "--out", str(folder)]
    ended = in_child(lambda: answer(words), folder)
    if ended.code != 0:
        raise SystemExit(f"the dense network could not be trained: {ended.said[-500:]}")


def fit(job: Job, out: Path, fault: Fault | None = None, kills: Sequence[Kill] = ()) -> Ended:
    """The search, from its start or from where it stood."""

    def work() -> int:
        if job.quick:
            delivery.LOOK.update(QUICK)
            delivery.RESULT.update(QUICK)
            fitting.reference_word = lambda: "eager"  # an export to ONNX takes seconds
        return answer(job.words(out))

    return in_child(work, out, fault, kills)


def rows(out: Path) -> dict[str, tuple[int, bytes]]:
    """Time and bytes of every finished candidate's row."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (out / "rows").glob("*.json")}


def after_a_kill(out: Path, before: dict[str, tuple[int, bytes]], had_best: bool) -> list[str]:
    """Problems: a row that stood is gone or was made again, a file with a final name cannot be read, the best so far
    is gone or does not open."""
    now = rows(out)
    found = [
        f"{name}: a finished candidate is gone or was made again" for name in before if now.get(name) != before[name]
    ]
    if had_best and not (out / "best").exists():
        found.append("best: is gone")
    ended = in_child(lambda: opens(out), out)
    return found + ([f"{ended.said.strip() or 'reading ended with'} ({ended.code})"] if ended.code else [])


def opens(out: Path) -> int:
    """Read all that has a final name, and run the best so far, where there is one. Returns an exit code."""
    try:
        for path in out.rglob("*.json"):
            json.loads(path.read_text()) if path.name == "frontier.json" else read_sealed_json(path)
        Folder(out).entries()
        if os.path.lexists(out / "best"):
            run, found = open_shipped(out / "best", trust=True)
            images = next(iter(load_task("digits").val.epoch(50)))[0]
            outputs = run(images)
            if outputs.shape != (50, found.num_classes) or not outputs.isfinite().all():
                print(f"best: gives {tuple(outputs.shape)}, not all finite")
                return 3
    except (PrunelleError, ValueError) as error:
        print(error)
        return 4
    return 0


def finished(job: Job, out: Path) -> tuple[Ended, dict[str, Any]]:
    """A search that nothing disturbs, and its result."""
    ended = fit(job, out)
    if ended.code not in (0, 1) or not (out / "result.json").is_file():
        raise SystemExit(f"the undisturbed search failed with {ended.code}: {ended.said[-500:]}")
    return ended, result(out)


def result(out: Path) -> dict[str, Any]:
    """result.json."""
    return json.loads((out / "result.json").read_text())


def same(first: dict[str, Any], second: dict[str, Any]) -> str | None:
    """None where two results chose one candidate, or two whose times, as shares of one reference, differ by less than
    the timer's intervals; else what differs."""
    one, other = first["chosen"], second["chosen"]
    apart = one["share_low"] > other["share_high"] or other["share_low"] > one["share_high"]
    if one["candidate"] == other["candidate"] or not apart:
        return None
    spans = (f"{c['name']} ({c['share_low']:.3f} to {c['share_high']:.3f})" for c in (one, other))
    return " is not ".join(spans)
