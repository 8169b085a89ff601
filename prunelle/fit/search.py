"""What to try next: pure functions of what is known so far, so that a search that was killed goes on as it would have.

First the dense network in every format; then every cut in one shot, looked at in the formats it is good for; then
trainings of the cuts on or near the frontier, by successive halving: each survivor gets twice as many epochs as before.
Source: Jamieson 2016, arXiv:1502.07943, with measured accuracy, time and size in place of a loss.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunelle.fit.budget import Budget, best
from prunelle.fit.candidates import ZEROS, Candidate, Cut, cuts_to_try, zeros_that_fit
from prunelle.fit.entry import Entry

DENSE_SHARE, NEEDLESS_SHARE, LOOKS_SHARE = 0.25, 0.25, 0.45
"""Of the time, after which no further file of the dense network is made, no further cut looked at in one shot that
others make needless, and none at all."""
TIGHT = 2.0
"""Times the size allowed, that one byte a weight must be over, so that only small files of cuts are looked at."""
FIRST = ("native int16", "onnx int8", "openvino int8", "native fp32", "onnx fp32", "openvino bf16")
"""Files that are most often the fastest, in this order; others come after them."""
MOST_WHERE_TIGHT = 4
"""Larger files of the dense network that are made where only the small one can fit: for their times."""
LEAST = 2
"""Files of the dense network, and cuts, that are looked at however short the time is."""
USED_SHARE = 0.9
"""Of the time that is left, how much trainings may be planned for."""
MOST_LINES = 4
EPOCHS = (16, 12, 8, 6, 4, 3, 2, 1)
"""Of the first training, later ones double. Few numbers, so that a little more or less time changes little; one alone
is too short to compare several cuts by."""
VALUES = (32, 16)
"""Shared values tried where size counts, and 4 bits a weight beside them."""
SMALL = ("packed-native", "packed")
POINTS = 20.0
"""Points lost in one shot that weigh as much as twice the speed: trainings bring most of them back."""

File = tuple[str, str, int | None]
"""(format, precision, shared values) of a candidate."""


@dataclass(frozen=True)
class Line:
    """A cut that is worth trainings, and the files that are made of it after each."""

    cuts: tuple[Cut, ...]
    files: tuple[File, ...]

    def candidates(self, epochs: tuple[int, ...]) -> list[Candidate]:
        return [Candidate(self.cuts, epochs, one, precision, values) for one, precision, values in self.files]

    def to_json(self) -> dict[str, Any]:
        return {"cuts": [dataclasses.asdict(cut) for cut in self.cuts], "files": [list(file) for file in self.files]}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Line:
        files = tuple((str(f), str(p), v) for f, p, v in values["files"])
        return Line(tuple(Cut(**cut) for cut in values["cuts"]), files)


@dataclass(frozen=True)
class Tuning:
    """What is trained: decided once, from the time that was left then. epochs: of the first training."""

    lines: tuple[Line, ...]
    epochs: int

    def rungs(self) -> list[tuple[int, tuple[int, ...]]]:
        """(lines that are still in, their trainings so far), rung by rung.

        >>> Tuning((Line((), ()),) * 4, 1).rungs()
        [(4, (1,)), (2, (1, 2)), (1, (1, 2, 4))]
        """
        found: list[tuple[int, tuple[int, ...]]] = []
        num = len(self.lines)
        trainings: tuple[int, ...] = (self.epochs,)
        while num:
            found.append((num, trainings))
            if num == 1:
                break
            num, trainings = math.ceil(num / 2), (*trainings, 2 * trainings[-1])
        return found

    def to_json(self) -> dict[str, Any]:
        return {"lines": [line.to_json() for line in self.lines], "epochs": self.epochs}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Tuning:
        return Tuning(tuple(map(Line.from_json, values["lines"])), int(values["epochs"]))


@dataclass(frozen=True)
class Setup:
    """What a search is told. files: (format, precision) that may be shipped and are installed; seconds: all its time;
    epoch_seconds: of one training epoch, from a pilot. num_weights: that can be pruned; num_others: all other
    numbers of the network."""

    budget: Budget
    files: tuple[tuple[str, str], ...]
    seconds: float
    epoch_seconds: float
    num_weights: int = 0
    num_others: int = 0

    @property
    def tight(self) -> bool:
        """Whether only the small file can fit: one byte a weight is far too many."""
        return self.budget.max_kb is not None and self.num_weights > TIGHT * 1e3 * self.budget.max_kb

    def cuts(self) -> list[tuple[Cut, ...]]:
        """What is looked at in one shot."""
        budget = self.budget
        by_size = budget.max_kb is not None
        room = 1e3 * (budget.max_kb or 0.0) - 2 * self.num_others
        zeros = zeros_that_fit(self.num_weights, room) if by_size else ()
        return cuts_to_try(by_size, budget.has_time or not by_size, zeros)


def dense_candidates(setup: Setup) -> list[Candidate]:
    """The dense network in all files, and with shared values and 4 bits where size counts."""
    found = [Candidate((), (), name, precision) for name, precision in setup.files if name not in SMALL]
    found.sort(key=lambda one: FIRST.index(one.file) if one.file in FIRST else len(FIRST))
    if small := small_of(setup):
        found = found[:MOST_WHERE_TIGHT] if setup.tight else found
        found[LEAST:LEAST] = [Candidate((), (), small, "fp32", VALUES[-1])]
        found.append(Candidate((), (), small, "fp32", bits=4))
    return found


def small_of(setup: Setup) -> str | None:
    """The small file, where size counts or no other may be shipped: one that runs fast where time counts too."""
    names = [name for name, _ in setup.files if name in SMALL]
    by_size = setup.budget.max_kb is not None
    if not by_size and len(names) < len(setup.files):
        return None
    wanted = SMALL if setup.budget.has_time or not by_size else SMALL[::-1]
    return next((name for name in wanted if name in names), None)


def files_for(cuts: Sequence[Cut], setup: Setup, known: Mapping[str, Entry]) -> list[File]:
    """The files that a cut is looked at in, by how fast the dense network was in them: single zeros bring time only in
    the native library; whole channels and blocks anywhere. One is in float32: what the cut alone gives."""
    small = small_of(setup)
    if small and setup.tight:
        alone_too = cuts == setup.cuts()[0]
        return [(small, "fp32", VALUES[-1]), *([(small, "fp32", None)] if alone_too else [])]
    dense = [one for c in dense_candidates(setup) if (one := known.get(c.id)) is not None and one.fit]
    fast = sorted(
        (one for one in dense if not one.candidate.values and not one.candidate.bits), key=lambda e: e.median_ms
    )
    sparse = any(cut.kind == ZEROS for cut in cuts)
    native = [one for one in fast if one.candidate.format == "native"]
    chosen = native[:1] if sparse and native else fast[: 1 if sparse else 2]
    alone = [one for one in (native if sparse and native else fast) if one.candidate.precision == "fp32"]
    chosen = list({one.candidate.id: one for one in (*chosen, *alone[:1])}.values())
    files: list[File] = [(one.candidate.format, one.candidate.precision, None) for one in chosen]
    if small:
        files.append((small, "fp32", VALUES[-1]))
    return files


def looks(setup: Setup, known: Mapping[str, Entry]) -> Iterator[Candidate]:
    """Every cut in one shot, in its files."""
    for cuts in setup.cuts():
        for name, precision, values in files_for(cuts, setup, known):
            yield Candidate(cuts, (), name, precision, values)


def next_look(setup: Setup, known: Mapping[str, Entry], spent: float) -> Candidate | None:
    """The next cut in one shot; None when all were seen, or it is time to train. What others make needless comes last,
    and only early."""
    begun = {one.candidate.cuts for one in known.values() if one.candidate.cuts}
    left = [one for one in looks(setup, known) if one.id not in known]
    needed = [one for one in left if not needless(one.cuts, setup, known)]
    for candidates, share in ((needed, LOOKS_SHARE), (left, NEEDLESS_SHARE)):
        for one in candidates:
            if one.cuts in begun or len(begun) < LEAST or spent < share * setup.seconds:
                return one
    return None


def needless(cuts: tuple[Cut, ...], setup: Setup, known: Mapping[str, Entry]) -> bool:
    """Whether other looks say that this one is not the best under limits of time or size: a larger cut of its kind is
    already too slow or too large, or a smaller one already fits and answers more surely."""
    if len(cuts) != 1 or not (setup.budget.has_time or setup.budget.max_kb is not None):
        return False
    overs: dict[float, list[float]] = {}
    for one in known.values():
        own = one.candidate.cuts
        if len(own) == 1 and (own[0].kind, own[0].scope) == (cuts[0].kind, cuts[0].scope) and one.measured:
            overs.setdefault(own[0].amount, []).append(setup.budget.excess(one, ("ms", "kb")))
    amount = cuts[0].amount
    return any(
        (larger > amount and min(over) > 0) or (larger < amount and min(over) == 0) for larger, over in overs.items()
    )


def enough(budget: Budget, known: Mapping[str, Entry]) -> bool:
    """Whether nothing is left to gain: all limits are kept, and no accuracy is lost where that is what is sought."""
    found = best(budget, known.values())
    seeks_accuracy = budget.has_time or budget.max_kb is not None
    return found is not None and budget.met(found) and seeks_accuracy and found.drop <= 0


def plan_tuning(setup: Setup, known: Mapping[str, Entry], left_seconds: float) -> Tuning:
    """The cuts to train and for how long, from what was seen in one shot; without lines where no epoch fits."""
    lines = promising(setup, known)
    for num in range(min(MOST_LINES, len(lines)), 0, -1):
        chosen = tuple(lines[:num])
        for epochs in EPOCHS if num == 1 else EPOCHS[:-1]:
            tuning = Tuning(chosen, epochs)
            if cost(tuning, setup, known) <= USED_SHARE * left_seconds:
                return tuning
    return Tuning((), 1)


def promising(setup: Setup, known: Mapping[str, Entry]) -> list[Line]:
    """Lines whose looks keep time and size, the best first; where none does, the one that is nearest to it.

    With a limit of accuracy alone all of them, by what they lost for their speed.
    """
    budget = setup.budget
    found: list[tuple[tuple, Line]] = []
    for cuts in dict.fromkeys(one.candidate.cuts for one in known.values() if one.candidate.cuts):
        own = [
            one for one in known.values() if one.candidate.cuts == cuts and not one.candidate.epochs and one.measured
        ]
        if not own:
            continue
        own.sort(key=lambda one: (budget.excess(one, ("ms", "kb")), one.candidate.values or 0, one.median_ms, one.name))
        over = budget.excess(own[0], ("ms", "kb"))
        keeping = [one for one in own if budget.excess(one, ("ms", "kb")) == over][:2]
        files = tuple(file for one in keeping for file in files_of(one, setup))
        lost = max(one.val_top1 for one in keeping)
        key: tuple = (over, -lost, cuts[0].amount)
        if not budget.has_time and budget.max_kb is None:
            key = (min(one.drop for one in own) / POINTS + math.log2(max(own[0].median_ms, 1e-9)), 0.0, 0.0)
        found.append((key, Line(cuts, tuple(dict.fromkeys(files)))))
    # By name where they are even: a folder that is read again gives entries in another order.
    found.sort(key=lambda pair: (pair[0], [cut.name for cut in pair[1].cuts]))
    fits = [line for key, line in found if key[0] <= 0 or not (budget.has_time or budget.max_kb is not None)]
    return fits or [line for _, line in found[:1]]


def files_of(look: Entry, setup: Setup) -> list[File]:
    """The file of a look; for shared values also more of them, while there is room for the extra bit a weight."""
    one = look.candidate
    files: list[File] = [(one.format, one.precision, one.values)]
    room = setup.budget.max_kb is not None and look.size_bytes + look.nnz / 8 <= 1e3 * setup.budget.max_kb
    return [(one.format, one.precision, VALUES[0]), *files] if one.values == VALUES[-1] and room else files


def cost(tuning: Tuning, setup: Setup, known: Mapping[str, Entry]) -> float:
    """Seconds that all rungs take: epochs by the pilot, files by what making them has taken."""
    seconds = [one.seconds for one in known.values() if one.candidate.cuts] or [1.0]
    a_file = sorted(seconds)[len(seconds) // 2]
    total, before = 0.0, 0
    for num, trainings in tuning.rungs():
        files = max(len(line.files) for line in tuning.lines)
        total += num * ((sum(trainings) - before) * setup.epoch_seconds + files * a_file)
        before = sum(trainings)
    return total


def tuned(tuning: Tuning, setup: Setup, known: Mapping[str, Entry]) -> Iterator[Candidate]:
    """The candidates of all rungs in their order; the next rung begins when all of one are known."""
    lines = list(tuning.lines)
    for num, trainings in tuning.rungs():
        lines = lines[:num]
        yield from (one for line in lines for one in line.candidates(trainings))
        ranks = {line: rank_of(line, trainings, setup.budget, known) for line in lines}
        lines.sort(key=lambda line: ranks[line])


def rank_of(line: Line, trainings: tuple[int, ...], budget: Budget, known: Mapping[str, Entry]) -> tuple:
    own = [known[one.id] for one in line.candidates(trainings) if one.id in known and known[one.id].fit]
    return min((budget.rank(one) for one in own), default=(2,))


def next_candidate(setup: Setup, known: Mapping[str, Entry], spent: float, tuning: Tuning | None) -> Candidate | None:
    """What to make next; None when nothing is left to try, or no time. spent: seconds. tuning: None while looking.

    A rung whose trainings do not fit into the time that is left is not begun.
    """
    for number, one in enumerate(dense_candidates(setup)):
        if one.id not in known and (number < LEAST or spent < DENSE_SHARE * setup.seconds):
            return one
    if enough(setup.budget, known):
        return None
    if tuning is None:
        return next_look(setup, known, spent)
    for one in tuned(tuning, setup, known):
        if one.id not in known:
            begun = any(k.candidate.cuts == one.cuts and k.candidate.epochs == one.epochs for k in known.values())
            needed = 0.0 if begun else one.epochs[-1] * setup.epoch_seconds
            return one if spent + needed <= setup.seconds else None
    return None
