"""Which cuts are trained and for how long: successive halving, decided from what was seen in one shot.

Each survivor of a rung gets twice as many epochs as before. Source: Jamieson 2016, arXiv:1502.07943, with measured
accuracy, time and size in place of a loss.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prunelle.fit.budget import Budget
from prunelle.fit.candidates import Candidate, Cut
from prunelle.fit.entry import Entry
from prunelle.fit.setup import VALUES, Setup

USED_SHARE = 0.9
"""Of the time that is left, how much trainings may be planned for."""
MOST_LINES = 4
EPOCHS = (16, 12, 8, 6, 4, 3, 2, 1)
"""Of the first training, later ones double. Few numbers, so that a little more or less time changes little; one alone
is too short to compare several cuts by."""
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
