"""A world in which making a candidate is a line of arithmetic, and a search that plays the policy in it."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from prunelle.fit.candidates import BLOCKS, CHANNELS, ZEROS, Candidate, Cut
from prunelle.fit.entry import Entry
from prunelle.fit.search import next_candidate
from prunelle.fit.setup import Setup
from prunelle.fit.tuning import Tuning, plan_tuning

WEIGHTS = 10_000
MS = {"native int16": 1.0, "native fp32": 2.0, "onnx int8": 1.5, "onnx fp32": 3.0, "packed-native": 2.0, "packed": 20.0}
FILES = (
    ("native", "fp32"),
    ("native", "int16"),
    ("onnx", "fp32"),
    ("onnx", "int8"),
    ("packed-native", "fp32"),
    ("packed", "fp32"),
)
POINTS_AT_ALL = {ZEROS: 40.0, CHANNELS: 60.0, BLOCKS: 80.0}
RECOVERS = {ZEROS: 1.0, CHANNELS: 1.0, BLOCKS: 1.0}
DENSE_TOP1 = 0.95
FILE_SECONDS = 1.0


def kept(one: Candidate, *kinds: str) -> float:
    """What these cuts leave of 1."""
    return math.prod(1 - cut.amount for cut in one.cuts if cut.kind in kinds)


def points_lost(one: Candidate, recovers: dict[str, float]) -> float:
    """A cut of `amount` loses 40, 60 or 80 * amount ** 2 points; trainings divide it by 1 + recovers * epochs. 16
    shared values lose 0.2 points, 32 lose 0.1, 4 bits lose 1, int8 files 0.05."""
    cuts = sum(POINTS_AT_ALL[c.kind] * c.amount**2 / (1 + recovers[c.kind] * sum(one.epochs)) for c in one.cuts)
    shared = {None: 0.0, 32: 0.1, 16: 0.2}[one.values]
    return cuts + shared + (1.0 if one.bits else 0.0) + (0.05 if one.precision == "int8" else 0.0)


def made(one: Candidate, recovers: dict[str, float] = RECOVERS) -> Entry:
    """Time falls with channels, blocks and, where zeros are skipped, zeros. A native or onnx file has 4, 2 or 1 bytes a
    weight that channels and blocks left; a packed one 4, or 5 / 8 and 4 / 8 with shared values, a weight that is not
    zero."""
    shape = kept(one, CHANNELS, BLOCKS)
    alive = kept(one, ZEROS) if one.format in ("native", "packed-native") else 1.0
    nnz = round(WEIGHTS * shape * kept(one, ZEROS))
    if one.format.startswith("packed"):
        size = nnz * {None: 0.5 if one.bits else 4, 32: 0.625, 16: 0.5}[one.values]
    else:
        size = WEIGHTS * shape * {"fp32": 4, "int16": 2, "int8": 1}[one.precision]
    lost = points_lost(one, recovers)
    ms = MS[one.file] * shape * alive
    figures = {"median_ms": ms, "share": ms / MS["onnx fp32"], "size_bytes": round(size), "nnz": nnz}
    return Entry(one, "fit", drop=lost, val_top1=DENSE_TOP1 - lost / 100, seconds=FILE_SECONDS, **figures)


@dataclass
class Played:
    """What a search proposed, in order, and where it stands: what its folder holds."""

    setup: Setup
    known: dict[str, Entry] = field(default_factory=dict)
    proposed: list[Candidate] = field(default_factory=list)
    spent: list[float] = field(default_factory=lambda: [0.0])
    tuning: Tuning | None = None
    tuned_at: int | None = None

    def go_on(self, make: Callable[[Candidate], Entry] = made) -> "Played":
        """As fitting.Search.run does, a second for a file and `epoch_seconds` for an epoch of a new training."""
        while True:
            assert len(self.proposed) < 500, "a search without end"
            one = next_candidate(self.setup, self.known, self.spent[-1], self.tuning)
            if one is None and self.tuning is None:
                self.tuning = plan_tuning(self.setup, self.known, self.setup.seconds - self.spent[-1])
                self.tuned_at = len(self.proposed)
                continue
            if one is None:
                return self
            trained = any((k.candidate.cuts, k.candidate.epochs) == (one.cuts, one.epochs) for k in self.known.values())
            seconds = 0.0 if trained or not one.epochs else one.epochs[-1] * self.setup.epoch_seconds
            self.known[one.id] = make(one)
            self.proposed.append(one)
            self.spent.append(self.spent[-1] + FILE_SECONDS + seconds)

    def cut_off(self, num: int) -> "Played":
        """The search as it stands on disk after `num` candidates, read again: entries by id, all of it through JSON."""
        own = {one.id: self.known[one.id] for one in self.proposed[:num]}
        known = {key: Entry.from_json(json.loads(json.dumps(own[key].to_json())), "row") for key in sorted(own)}
        noted = self.tuned_at is not None and self.tuned_at < num and self.tuning is not None
        tuning = Tuning.from_json(json.loads(json.dumps(self.tuning.to_json()))) if noted and self.tuning else None
        return Played(self.setup, known, [], [self.spent[num]], tuning)


def zeros(amount: float, scope: str = "global") -> tuple[Cut, ...]:
    return (Cut(ZEROS, amount, scope),)
