"""What a search will cost before it is paid, for any number of workers, and what keeps more of them from helping.

O(M N t) as the papers count it is the sum of all trainings; what a number of workers makes of it is found by handing
the very jobs out to them on paper, with the seconds an update that the trial took.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prunelle.tickets.arrangement import TRIED_GROUP, Arrangement, jobs_of
from prunelle.tickets.grid import Member, waves
from prunelle.tickets.lottery import Lottery, Place, first_update
from prunelle.tickets.work import Job

UP_TO = 1000
"""Workers of the curve."""


@dataclass(frozen=True)
class Costs:
    """per_epoch: updates an epoch. before: seconds from the start until the first training, trial included."""

    lottery: Lottery
    arrangement: Arrangement
    per_epoch: int
    before: float

    def member(self, member: Member, together: int, group: int = TRIED_GROUP) -> float:
        """Seconds of one training, its validations and what follows it. group: members trained at once with it."""
        arranged, epochs = self.arrangement, self.lottery.settings.epochs
        first, how = first_update(member), arranged.how(member)
        slower = self.slower(together)
        training = (epochs * self.per_epoch - first) * arranged.seconds(how, member.kept, together, group)
        looking = (epochs - first // self.per_epoch) * arranged.look_seconds
        return training + slower * (looking + arranged.finish_seconds)

    def slower(self, together: int) -> float:
        """How much longer one thing takes with so many at once."""
        whole = self.arrangement.whole
        return self.arrangement.seconds(whole, 1.0, together) / self.arrangement.seconds(whole, 1.0, 1)

    def job(self, job: Job, together: int) -> float:
        return sum(self.member(member, together, len(job.members)) for member in job.members)


def predict(costs: Costs, place: Place, workers: int) -> float:
    """Seconds of the whole search with so many workers.

    More than were tried at once are taken to stand on machines like this one, each with as many as were tried.
    """
    arranged = replace(costs.arrangement, workers=workers)
    total = costs.before
    for wave in waves(costs.lottery.grid):
        jobs = jobs_of(costs.lottery, place, wave, arranged)
        together = min(workers, costs.arrangement.workers, len(jobs))
        total += makespan([costs.job(job, together) for job in jobs], workers)
    return total


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last of these is done, each handed to the first worker that is free.

    >>> makespan([3.0, 1.0, 1.0, 1.0], 2)
    3.0
    """
    free = [0.0] * min(workers, max(1, len(seconds)))
    for cost in seconds:
        heapq.heappush(free, heapq.heappop(free) + cost)
    return max(free)


def limits(costs: Costs) -> list[dict[str, Any]]:
    """What no number of workers shortens: {what, seconds}, in the order of the search."""
    found = [{"what": "start and trial", "seconds": costs.before}]
    for number, wave in enumerate(waves(costs.lottery.grid)):
        together = min(costs.arrangement.workers, len(wave))
        longest = max(costs.member(member, together) for member in wave)
        what = "dense network" if number == 0 else "longest training"
        if costs.lottery.grid.iterative and number:
            what = f"round {number} of masks, which waits for the one before"
        found.append({"what": what, "seconds": longest})
    return found


def work_seconds(costs: Costs) -> float:
    """All trainings one after the other in one process."""
    return sum(costs.member(member, 1) for wave in waves(costs.lottery.grid) for member in wave)


def curve(costs: Costs, place: Place, up_to: int = UP_TO) -> list[dict[str, Any]]:
    """{workers, seconds, speedup, efficiency} for 1, 2, 5, 10, ... up to `up_to`. speedup: of one worker's time."""
    alone = predict(costs, place, 1)
    found = []
    for workers in numbers(up_to):
        seconds = predict(costs, place, workers)
        speedup = alone / seconds
        found.append({"workers": workers, "seconds": seconds, "speedup": speedup, "efficiency": speedup / workers})
    return found


def numbers(up_to: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 10, 15, 20, 30, ... and the last itself.

    >>> numbers(12)
    [1, 2, 3, 4, 6, 8, 10, 12]
    """
    steps = (1, 1.5, 2, 3, 4, 6, 8)
    found = {int(step * 10**power) for power in range(7) for step in steps if step * 10**power == int(step * 10**power)}
    return sorted({n for n in found if n <= up_to} | {up_to})


def plan_of(costs: Costs, place: Place, workers: int) -> dict[str, Any]:
    """What `prunelle plan` tells. Seconds everywhere."""
    members = [member for wave in waves(costs.lottery.grid) for member in wave]
    epochs = costs.lottery.settings.epochs
    points = curve(costs, place)
    here = predict(costs, place, workers)
    alone = points[0]["seconds"]
    return {
        "num_trainings": len(members),
        "num_updates": sum(epochs * costs.per_epoch - first_update(member) for member in members),
        "work_seconds": work_seconds(costs),
        "workers": workers,
        "seconds": here,
        "speedup": alone / here,
        "efficiency": alone / here / workers,
        "serial_seconds": sum(row["seconds"] for row in limits(costs)),
        "limits": limits(costs),
        "arrangement": {
            "whole": costs.arrangement.whole,
            "sparse_below": costs.arrangement.sparse_below,
            "rates": [rate.__dict__ for rate in costs.arrangement.rates],
        },
        "curve": points,
    }
