"""`prunelle fit`: words in, a search; what it would do, for a dry run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunelle.data.parts import choose_on_test
from prunelle.data.task import Task
from prunelle.fit.budget import Budget
from prunelle.fit.candidates import Candidate
from prunelle.fit.fitting import Watch, search
from prunelle.fit.networks import Brought
from prunelle.fit.outcome import Place
from prunelle.fit.pilot import pilot
from prunelle.fit.search import LOOKS_SHARE, dense_candidates
from prunelle.fit.setup import Setup, shippable, sizes
from prunelle.fit.tuning import MOST_LINES
from prunelle.recipes.measure import open_with_data
from prunelle.recipes.shipping import hash_of_state

FILE_SECONDS = 5.0
"""To write, judge and time one small file, by experience."""
FILES_KEPT = 12
"""A guess of how many files no other beats, with what a training needs beside them, each as large as the network."""


@dataclass(frozen=True)
class Asked:
    """The words of the command. on_test: choose on the first half of the test split and tell on the second."""

    model: str
    data: str
    budget: Budget
    out: Path
    minutes: float = 20.0
    weights: str | None = None
    input_shape: tuple[int, int, int] | None = None
    formats: tuple[str, ...] | None = None
    on_test: bool = False
    candidate: Candidate | None = None
    data_dir: str | None = None
    threads: int | None = None
    seed: int = 0
    trust: bool = False


def opened(asked: Asked) -> tuple[Brought, Task]:
    """The network and what it is for. Raises what opening either raises."""
    found, task = open_with_data(
        asked.model,
        asked.data,
        asked.data_dir,
        "cpu",
        weights=asked.weights,
        input_shape=asked.input_shape,
        trust=asked.trust,
        seed=asked.seed,
    )
    assert task is not None
    task = choose_on_test(task) if asked.on_test else task
    return Brought(found.model, found.builder, found.cuts, hash_of_state(found)), task


def place_of(asked: Asked) -> Place:
    """Where the search runs, and the words that make a single candidate of it again."""
    words: list[str] = []
    words += ["--weights", asked.weights] if asked.weights is not None else []
    words += ["--input", ",".join(map(str, asked.input_shape))] if asked.input_shape is not None else []
    words += ["--choose-on", "test-half"] if asked.on_test else []
    words += ["--data-dir", asked.data_dir] if asked.data_dir is not None else []
    words += ["--seed", str(asked.seed)] if asked.seed else []
    words += ["--trust"] if asked.trust else []
    return Place(
        asked.out,
        asked.minutes,
        asked.formats,
        asked.threads,
        asked.seed,
        asked.model,
        asked.data,
        asked.candidate,
        tuple(words),
    )


def fit_model(asked: Asked, watch: Watch) -> dict[str, Any]:
    """What result.json holds. Raises as `fit.fitting.search`."""
    brought, task = opened(asked)
    return search(brought, task, asked.budget, place_of(asked), watch)


def plan(asked: Asked) -> dict[str, Any]:
    """What a search would try and about how long it takes: files by experience, epochs by a few updates made here."""
    brought, task = opened(asked)
    files = shippable(asked.formats, brought.builder is not None)
    found = pilot(brought, task, asked.threads)
    setup = Setup(asked.budget, files, 60 * asked.minutes, found.epoch_seconds, *sizes(brought.model))
    if asked.candidate is not None:
        seconds = FILE_SECONDS + found.epoch_seconds * sum(asked.candidate.epochs)
        rows, networks, epochs = [{"what": asked.candidate.name, "minutes": seconds / 60}], 2, 0
        told = "this candidate alone"
    else:
        cuts = setup.cuts()
        rows = [{"what": one.name, "minutes": FILE_SECONDS / 60} for one in dense_candidates(setup)]
        rows += [
            {"what": f"{' + '.join(cut.name for cut in one)}; in one shot", "minutes": 2 * FILE_SECONDS / 60}
            for one in cuts
        ]
        networks = len(cuts) + 2 * MOST_LINES
        epochs = int((1 - LOOKS_SHARE) * setup.seconds / max(found.epoch_seconds, 1e-9))
        told = f"{len(rows)} candidates in one shot, then trainings of the best, at most about {epochs:,} epochs"
    return {
        "candidates": rows,
        "epoch_minutes": found.epoch_seconds / 60,
        "epochs_that_fit": epochs,
        "precision": found.precision,
        "minutes": asked.minutes,
        "plan": told,
        "disk_bytes": 4 * (setup.num_weights + setup.num_others) * (networks + FILES_KEPT),
    }
