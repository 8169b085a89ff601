"""How the members of a search are trained on this machine: chosen by a short trial, not by belief."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from time import monotonic
from typing import Any

import torch

from prunelle.data.task import Task
from prunelle.engines.engine import Engine
from prunelle.errors import SettingError
from prunelle.tickets.fused import fusable
from prunelle.tickets.grid import Member
from prunelle.tickets.lottery import Lottery, Place, first_update, order_seed
from prunelle.tickets.sparse_training import trainable
from prunelle.tickets.trials import Trial, looks, trial, who
from prunelle.tickets.work import How, Job, rule_of

LARGEST_GROUP = 16
TRIED_GROUP, SMALL_GROUP = LARGEST_GROUP // 2, 2
"""Members trained together in a trial. What a group costs whatever its size comes from both, so that small groups, as
rounds of masks have, are not taken for cheap."""
TRIED_SHARES = (0.8, 0.25, 0.04)
"""Shares kept at which sparse training is tried; between and beyond its time is taken to follow straight lines."""
UP_SECONDS = 60
"""How long a trial waits for workers that still start."""


@dataclass(frozen=True)
class Rate:
    """Seconds an update of one member took. together: how many processes worked at once. kept: by the masks. group:
    members trained at once by each process; of plain training, which takes one after another, it says nothing."""

    how: How
    together: int
    kept: float
    seconds: float
    group: int = TRIED_GROUP


@dataclass(frozen=True)
class Arrangement:
    """whole: the way of training for members that keep many weights. sparse_below: those that keep a smaller share are
    trained sparse. workers: processes of one thread. rates: of the trial. look_seconds, finish_seconds: of what a
    member does after each epoch, and of what it does once, see `trials.looks`."""

    whole: How
    sparse_below: float
    workers: int
    rates: tuple[Rate, ...] = ()
    look_seconds: float = 0.0
    finish_seconds: float = 0.0

    def how(self, member: Member) -> How:
        return "sparse" if member.kept < self.sparse_below else self.whole

    def seconds(self, how: How, kept: float, together: int, group: int = TRIED_GROUP) -> float:
        """Of one update of one member. Between the numbers of processes that were tried it rises in a straight line."""
        tried = sorted({r.together for r in self.rates if r.how == how})
        if not tried or not tried[0] <= together <= tried[-1]:
            raise SettingError(f"arrangement: {how} with {together} at once was not tried.")
        points = [(float(n), self.tried_seconds(how, kept, n) + self.alone(how, n) * share(group)) for n in tried]
        return max(line(points, together), 1e-9)

    def tried_seconds(self, how: How, kept: float, together: int) -> float:
        """In groups of TRIED_GROUP, with as many processes as were tried."""
        own = [r for r in self.rates if (r.how, r.together, r.group) == (how, together, TRIED_GROUP)]
        return line(sorted((r.kept, r.seconds) for r in own), kept)

    def alone(self, how: How, together: int) -> float:
        """Seconds that an update of a group takes whatever its size; 0 where only one size was tried."""
        small = [r for r in self.rates if (r.how, r.together) == (how, together) and r.group != TRIED_GROUP]
        found = [(r.seconds - self.tried_seconds(how, r.kept, together)) / share(r.group) for r in small]
        return max(0.0, median(found)) if found else 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Arrangement:
        return Arrangement(**{**values, "rates": tuple(Rate(**rate) for rate in values["rates"])})


def share(group: int) -> float:
    """How much more of what a group costs as a whole falls to each of its members than in a trial's.

    >>> share(8), share(2)
    (0.0, 0.375)
    """
    return 1 / group - 1 / TRIED_GROUP


def line(points: Sequence[tuple[float, float]], at: float) -> float:
    """Straight lines from each point to the next, the first and the last going on beyond. points: (x, y), x rising.

    >>> line([(0.0, 1.0), (0.5, 2.0)], 1.0), line([(0.0, 0.0), (1.0, 1.0), (2.0, 5.0)], 1.5)
    (3.0, 3.0)
    """
    if len(points) == 1:
        return points[0][1]
    right = next((number for number in range(1, len(points)) if at <= points[number][0]), len(points) - 1)
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


def choose(lottery: Lottery, task: Task, place: Place, engine: Engine, told: str = "auto") -> Arrangement:
    """Time every way that this network can be trained in, one process alone and all at once, and take the fastest.

    told: one of the ways, or auto. Raises SettingError where that way does not go, with the reason.
    """
    ways = possible(lottery, task, place)
    refused = [why for how, why in ways.items() if how == told and why]
    if refused:
        raise SettingError(f"arrangement {told!r}: {refused[0]}")
    needed = ("plain", "sparse") if told == "sparse" else (told,)
    tried = [how for how, why in ways.items() if why is None and (told == "auto" or how in needed)]
    rates = []
    everybody_up(engine)
    for together in sorted({1, engine.workers}):
        for how in tried:
            for kept in TRIED_SHARES if how == "sparse" else (1.0,):
                for group in groups_tried(how, kept):
                    size = 1 if how == "plain" else group
                    found = engine.run(trial, [Trial(lottery, place, how, kept, size)] * together)
                    rates.append(Rate(how, together, kept, median(found), group))
    look, after = engine.run(looks, [Trial(lottery, place, "plain", 1.0, 1)])[0]
    made = Arrangement("plain", 0.0, engine.workers, tuple(rates), look, after)
    return fastest(made, told, tried)


def groups_tried(how: How, kept: float) -> tuple[int, ...]:
    """Sizes of groups that are timed; a small one for one share only, for what it tells does not depend on masks."""
    once = how == "fused" or (how == "sparse" and kept == TRIED_SHARES[1])
    return (TRIED_GROUP, SMALL_GROUP) if once else (TRIED_GROUP,)


def everybody_up(engine: Engine) -> None:
    """Wait until every worker has answered: while one still starts, another would do its part of a trial too."""
    deadline, seen = monotonic() + UP_SECONDS, set[str]()
    while len(seen) < engine.workers and monotonic() < deadline:
        seen |= set(engine.run(who, [None] * engine.workers))


def fastest(made: Arrangement, told: str, tried: Sequence[How]) -> Arrangement:
    """The arrangement with its choice made from its rates."""
    values = {**made.__dict__}
    if told in ("plain", "fused"):
        return Arrangement(**{**values, "whole": told, "sparse_below": 0.0})
    whole = min((how for how in tried if how != "sparse"), key=lambda how: made.seconds(how, 1.0, made.workers))
    below = 2.0 if told == "sparse" else 0.0
    if told == "auto" and "sparse" in tried:
        limit = made.seconds(whole, 1.0, made.workers)
        shares = [number / 200 for number in range(1, 401)]
        below = max((s for s in shares if made.seconds("sparse", s, made.workers) < limit), default=0.0)
    return Arrangement(**{**values, "whole": whole, "sparse_below": below})


def possible(lottery: Lottery, task: Task, place: Place) -> dict[How, str | None]:
    """Each way of training, and why this network cannot be trained so; None = it can."""
    model = lottery.open(task, 0).model
    rule = rule_of(model, lottery, task)
    on_gpu = torch.device(place.device).type != "cpu"
    sparse = "it works on the CPU only; take another." if on_gpu else trainable(model, rule)
    return {"plain": None, "fused": fusable(model, rule, task.input_shape), "sparse": sparse}


def jobs_of(lottery: Lottery, place: Place, members: Sequence[Member], arranged: Arrangement) -> list[Job]:
    """Members as jobs of equal size: together what begins at one update in one way, first those of one data order."""
    alike: dict[tuple[How, int], list[Member]] = {}
    for member in members:
        alike.setdefault((arranged.how(member), first_update(member)), []).append(member)
    jobs = []
    for (how, _), own in alike.items():
        own.sort(key=lambda member: (order_seed(member), member.rewind, -member.kept))
        for part in parts(own, 1 if how == "plain" else LARGEST_GROUP, arranged.workers):
            jobs.append(Job(lottery, place, tuple(part), how))
    return jobs


def parts(members: Sequence[Member], largest: int, workers: int) -> list[Sequence[Member]]:
    """As few parts of at most `largest` as keep all workers busy, as equal as they go.

    >>> [len(part) for part in parts(range(20), 16, 2)]
    [10, 10]
    """
    rounds = -(-len(members) // (largest * workers))
    count = min(len(members), rounds * workers) if largest > 1 else len(members)
    edges = [number * len(members) // count for number in range(count + 1)]
    return [members[a:b] for a, b in pairwise(edges)]
