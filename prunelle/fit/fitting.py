"""A budget in, the best file out: the search itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from prunelle.data.task import Task
from prunelle.errors import (
    BusyError,
    DiskError,
    LimitError,
    ModelError,
    PrunelleError,
    WorkError,
)
from prunelle.fit.budget import Budget, best, nearest
from prunelle.fit.candidates import Candidate
from prunelle.fit.delivery import Bench, Subject, deliver, scores_of, subject_of
from prunelle.fit.entry import Entry
from prunelle.fit.folder import Folder
from prunelle.fit.networks import Brought, Networks
from prunelle.fit.outcome import Outcome, Place
from prunelle.fit.pages import write_pages
from prunelle.fit.pilot import pilot, training
from prunelle.fit.search import next_candidate
from prunelle.fit.setup import EAGER, Setup, reference_word, shippable, sizes
from prunelle.fit.telling import card_of, dense_card, evaluation, labels, rewrite, tested, told
from prunelle.fit.tuning import Tuning, plan_tuning
from prunelle.measure.accuracy import evaluate, flips
from prunelle.measure.params import prunable
from prunelle.ship.first_line import first_line
from prunelle.ship.formats import Run
from prunelle.ship.images import calibration, timed_images
from prunelle.ship.runtimes import load_runtime
from prunelle.ship.sizes import dense_bytes

MOST_FINALS = 6
"""Files that may be made anew for the last measurement before the best of them is taken as it is."""


@dataclass(frozen=True)
class News:
    """What a search is doing. best: the best file so far, None at first. left: seconds."""

    doing: str
    best: Entry | None
    left: float


Watch = Callable[[News], None]


class Search:
    """One search: what it was told and where it stands. Final."""

    def __init__(self, brought: Brought, task: Task, budget: Budget, place: Place, watch: Watch) -> None:
        self.brought, self.task, self.budget, self.place, self.watch = brought, task, budget, place, watch
        self.folder = Folder(place.out)
        self.last: tuple[tuple, Subject] | None = None
        self.begun = monotonic()
        self.before = float(self.folder.notes().get("spent", 0.0))
        self.reference_word = reference_word()
        self.tell("looking at the dense network")
        self.bench = self.make_bench()
        self.setup, self.networks = self.make_setup()

    def make_bench(self) -> Bench:
        """The dense network, measured: all others are held against it."""
        task, model, seed = self.task, self.brought.model.eval(), self.place.seed
        images = timed_images(task, task.input_shape, 1, seed)
        return Bench(
            task=task,
            reference=self.make_reference(images[0]),
            images=images,
            calibration=calibration(task, seed),
            dense_scores=scores_of(model, task.val, task),
            dense_bytes=dense_bytes(model, self.folder.work("dense")),
            model=self.place.model,
            data=self.place.data,
        )

    def make_reference(self, image: Tensor) -> Run:
        """The dense network as shares of time refer to it: in PyTorch where ONNX Runtime does not run it, or gives
        something else."""
        try:
            return load_runtime(self.reference_word)(self.brought.model, image, 1)
        except WorkError:
            if self.reference_word == EAGER:
                raise
            self.reference_word = EAGER
            self.tell("taking PyTorch for the reference, as ONNX Runtime does not give what the network gives")
            return load_runtime(EAGER)(self.brought.model, image, 1)

    def make_setup(self) -> tuple[Setup, Networks]:
        notes = self.folder.notes()
        if "epoch_seconds" not in notes:
            self.tell("timing a few updates")
            found = pilot(self.brought, self.task, self.place.threads)
            self.folder.note(epoch_seconds=found.epoch_seconds, precision=found.precision, threads=found.threads)
            notes = self.folder.notes()
        torch.set_num_threads(notes["threads"])
        files = shippable(self.place.formats, self.brought.builder is not None)
        setup = Setup(self.budget, files, 60 * self.place.minutes, notes["epoch_seconds"], *sizes(self.brought.model))
        settings = training(self.brought, self.task, notes["precision"])
        return setup, Networks(self.brought, self.task, self.place.out, settings, self.place.seed)

    @property
    def spent(self) -> float:
        """Seconds, those of earlier starts too."""
        return self.before + monotonic() - self.begun

    def tell(self, doing: str) -> None:
        known = self.folder.entries()
        self.watch(News(doing, best(self.budget, known.values()), max(0.0, 60 * self.place.minutes - self.spent)))

    def run(self) -> Entry:
        """Try candidates until nothing is left to try or no time; then measure the best of them as results are."""
        if (alone := self.place.candidate) is not None:
            done = self.folder.entries().get(alone.id)
            return done if done is not None and done.fit and done.final else self.final(alone)
        tuning = None
        if "tuning" in (notes := self.folder.notes()):
            tuning = Tuning.from_json(notes["tuning"])
        while True:
            known = self.folder.looks()
            one = next_candidate(self.setup, known, self.spent, tuning)
            if one is None and tuning is None:
                tuning = plan_tuning(self.setup, known, self.setup.seconds - self.spent)
                self.folder.note(tuning=tuning.to_json())
                continue
            if one is None:
                return self.settle()
            self.tell(one.name)
            self.add(self.attempt(one, final=False))

    def attempt(self, one: Candidate, final: bool) -> tuple[Entry, Path]:
        """Make and measure a candidate; whatever goes wrong in it is its own."""
        work = self.folder.work(one.id)
        begun = monotonic()
        try:
            subject = self.subject(one)
        except (DiskError, BusyError):  # which say nothing about the candidate
            raise
        except Exception as error:  # a network may be anybody's code
            why = str(error) if isinstance(error, PrunelleError) else f"{one.network}: failed ({first_line(error)})."
            return Entry(one, "failed", why, final=final, seconds=monotonic() - begun), work
        entry = deliver(one, subject, self.bench, work, final)
        return dataclasses.replace(entry, final=final), work

    def subject(self, one: Candidate) -> Subject:
        """The network of a candidate; the last one is kept, as several files are made of each."""
        key = (one.cuts, one.epochs, one.values, one.bits)
        if self.last is None or self.last[0] != key:
            network = self.networks.finished(self.networks.make(one.cuts, one.epochs), one.values, one.bits)
            self.last = key, subject_of(network, self.task)
        return self.last[1]

    def add(self, found: tuple[Entry, Path]) -> None:
        self.folder.add(*found)
        self.folder.point(self.budget)
        self.folder.note(spent=self.spent)

    def settle(self) -> Entry:
        """The best, once it was measured as a result is. Raises WorkError where nothing is fit to be shipped."""
        while True:
            known = self.folder.entries()
            finals = [one for one in known.values() if one.final and one.fit]
            chosen = best(self.budget, known.values() if len(finals) < MOST_FINALS else finals)
            if chosen is None:
                reasons = "; ".join(dict.fromkeys(one.why.rstrip(".") for one in known.values()))
                raise WorkError(f"{self.place.model}: no file passed the gate ({reasons}); nothing can be shipped.")
            if chosen.final:
                return chosen
            self.final(chosen.candidate)

    def final(self, one: Candidate) -> Entry:
        self.tell(f"measuring {one.name}")
        entry, work = self.attempt(one, final=True)
        self.add((entry, work))
        if self.place.candidate is not None and not entry.fit:
            raise WorkError(f"{one.name}: {entry.why}")
        return entry

    def outcome(self, chosen: Entry) -> Outcome:
        """Read the test split, once, for what is shipped."""
        self.tell("reading the test split")
        one = chosen.candidate
        network = self.networks.finished(self.networks.make(one.cuts, one.epochs), one.values, one.bits)
        place = self.folder.place(chosen)
        self.folder.link(chosen)  # which a look may outrank, and which a kill may have kept from being linked
        try:
            made = tested(one, network, self.bench, place)
        except LimitError as error:  # whatever it did on val: what does not compute what its network does stays here
            self.add((Entry(one, "refused", str(error), final=True), self.folder.work(one.id)))
            self.folder.drop(chosen)
            return self.outcome(self.settle())
        rewrite(made, place)
        dense = evaluate(self.brought.model, self.task.test, self.task.loss, self.task.metric)
        after = evaluation(made, self.task)
        known = self.folder.entries()
        drop = 100 * (dense.top1 - after.top1)
        return Outcome(
            budget=self.budget,
            chosen=chosen,
            met=self.budget.met(dataclasses.replace(chosen, drop=drop)),
            folder=self.place.out / "best",
            entries=tuple(sorted(known.values(), key=self.budget.rank)),
            nearest={
                limit: miss
                for limit, miss in nearest(self.budget, known.values()).items()
                if self.budget.used(miss)[limit] > 1
            },
            top1=after.top1,
            top1_dense=dense.top1,
            test_drop=drop,
            num_test=len(after.scores),
            per_class=flips(dense, after, self.task.class_names) if labels(dense.targets) else [],
            cards={
                "dense": dense_card(self.brought, self.bench, dense),
                "shipped": card_of(chosen, network, after, self.task, self.reference_word),
            },
            reference=self.reference_word,
            reference_ms=chosen.reference_ms,
            spent=self.spent,
        )


def search(
    brought: Brought, task: Task, budget: Budget, place: Place, watch: Watch = lambda news: None
) -> dict[str, Any]:
    """Find the best file, and write result.json, rows and the page; a second start finds it done.

    Returns what result.json holds. Raises SettingError, ModelError, WeightsError, WorkError, RunConflictError,
    BusyError, DiskError.
    """
    if not prunable(brought.model):
        raise ModelError(f"{place.model}: has no layer with weights that can be pruned; give a network that has some.")
    folder, threads = Folder(place.out), torch.get_num_threads()
    torch.set_num_threads(place.threads or 1)
    try:
        with folder.held(asked(brought, task, budget, place)):
            if (found := folder.result) is None:
                one = Search(brought, task, budget, place, watch)
                outcome = one.outcome(one.run())
                write_pages(outcome, place)
                found = told(outcome, place)
                folder.finish(found)
            return found
    finally:
        torch.set_num_threads(threads)


def asked(brought: Brought, task: Task, budget: Budget, place: Place) -> dict[str, Any]:
    """What makes a search another one."""
    return {
        "network": brought.sha256,
        "data": task.fingerprint,
        "budget": dataclasses.asdict(budget),
        "formats": None if place.formats is None else list(place.formats),
        "seed": place.seed,
        "candidate": None if place.candidate is None else place.candidate.to_json(),
    }
