"""The whole search: trial, dense networks, members wave by wave, barriers. Killed and called again it goes on.

OUT/arrangement.json      how members are trained here, sealed; kept for later starts, so that they round alike
OUT/runs/ID/              a folder a member
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from prunelle.data.task import Task
from prunelle.engines.engine import Engine
from prunelle.errors import CorruptFileError, DivergedError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.tickets.arrangement import Arrangement, Rate, choose, jobs_of
from prunelle.tickets.barrier import Pair, barrier_of, measure_barrier
from prunelle.tickets.finished import card_of
from prunelle.tickets.fitting import check_alike
from prunelle.tickets.grid import Member, parent, waves
from prunelle.tickets.lottery import Lottery, Place, is_done
from prunelle.tickets.trials import clear
from prunelle.tickets.work import TRAINERS, work

ARRANGEMENT = "arrangement.json"
Watch = Callable[[str, float], None]
"""(what is going on, share done in [0, 1])."""


@dataclass(frozen=True)
class Swept:
    """cards: of the members that are done, as `finished.card_of` gives them. skipped: members whose ticket before had
    no hope. barriers: by twin. seconds: of this start, by what was done; empty where nothing was left to do."""

    members: list[Member]
    cards: dict[Member, dict[str, Any]]
    skipped: list[Member]
    barriers: dict[Member, float]
    arrangement: Arrangement
    seconds: dict[str, float]


def sweep(lottery: Lottery, task: Task, place: Place, engine: Engine, watch: Watch, told: str = "auto") -> Swept:
    """Train what of the grid is not done. The engine's shared value is the task. told: see `arrangement.choose`.

    Raises DivergedError when a dense network diverged, and what training raises.
    """
    lottery.grid.check_length(lottery.updates(task))
    planned = waves(lottery.grid)
    everyone = [member for wave in planned for member in wave]
    started = monotonic()
    seconds: dict[str, float] = {}
    arranged = arrangement_of(lottery, task, place, engine, watch, told)
    here = replace(arranged, workers=engine.workers)
    seconds["trial"] = monotonic() - started
    cards: dict[Member, dict[str, Any]] = {}
    skipped: list[Member] = []
    for number, wave in enumerate(planned):
        begun = monotonic()
        fit = [member for member in wave if not hopeless(member, cards, skipped)]
        skipped += [member for member in wave if member not in set(fit)]
        missing = [member for member in fit if not is_done(lottery, member, place)]
        jobs = jobs_of(lottery, place, missing, here)
        engine.run(work, jobs, lambda: watch(*standing(lottery, place, everyone)))
        cards |= {member: found for member in fit if (found := card_of(lottery, member, place)) is not None}
        if number == 0:
            check_dense(wave, cards)
        seconds["dense" if number == 0 else "members"] = seconds.get("members", 0.0) + monotonic() - begun
    begun = monotonic()
    barriers = measure_barriers(lottery, place, engine, [m for m in everyone if m.variant == "twin" and m in cards])
    seconds["barriers"] = monotonic() - begun
    return Swept(everyone, cards, skipped, barriers, arranged, seconds)


def arrangement_of(lottery: Lottery, task: Task, place: Place, engine: Engine, watch: Watch, told: str) -> Arrangement:
    """The one that an earlier start chose, or a new one. Raises SettingError, CorruptFileError, DiskError."""
    path = place.out / ARRANGEMENT
    if path.exists():
        return arrangement_from(read_sealed_json(path), path)
    watch("trial: how to train", 0.0)
    chosen = choose(lottery, task, place, engine, told)
    clear(place.out)
    write_sealed_json(path, chosen.to_json())
    return chosen


def arrangement_from(values: dict[str, Any], path: Path) -> Arrangement:
    """Raises CorruptFileError, naming the file, where the values are of no arrangement."""
    rate = asdict(Rate("plain", 1, 1.0, 1.0))
    rates = values.get("rates")
    like = Arrangement("plain", 0.0, 1).to_json() | {"rates": [rate] * len(rates if isinstance(rates, list) else ())}
    check_alike(values, like, path)
    found = Arrangement.from_json(values)
    ways = {found.whole, *(rate.how for rate in found.rates)}
    counts = (found.workers, *(rate.together for rate in found.rates))
    times = (found.look_seconds, found.finish_seconds, *(rate.seconds for rate in found.rates))
    sane = all(type(count) is int and count >= 1 for count in counts) and min(times) >= 0
    if not ways <= TRAINERS.keys() or not sane:
        raise CorruptFileError(f"{path}: is no arrangement; delete it and start again.")
    return found


def hopeless(member: Member, cards: dict[Member, dict[str, Any]], skipped: Sequence[Member]) -> bool:
    """Whether the ticket that a member's mask would come from has been given up."""
    above = parent(member)
    if above is None:
        return False
    if above in skipped:
        return True
    found = cards[above]["found"]
    return bool(found["left"] == "hopeless" or found["diverged"])


def check_dense(wave: Sequence[Member], cards: dict[Member, dict[str, Any]]) -> None:
    broken = [str(member.seed) for member in wave if cards[member]["found"]["diverged"]]
    if broken:
        raise DivergedError(
            f"dense training: the loss was not finite or grew a thousandfold with seed {', '.join(broken)}; there is "
            "nothing to search in; try a smaller learning rate in another --out."
        )


def standing(lottery: Lottery, place: Place, members: Sequence[Member]) -> tuple[str, float]:
    """How many members are done, for whoever watches."""
    done = sum(is_done(lottery, member, place) for member in members)
    return f"{done} of {len(members)} trainings", done / len(members)


def measure_barriers(lottery: Lottery, place: Place, engine: Engine, twins: Sequence[Member]) -> dict[Member, float]:
    missing = [twin for twin in twins if barrier_of(lottery, twin, place) is None]
    engine.run(measure_barrier, [Pair(lottery, place, twin) for twin in missing])
    return {twin: found for twin in twins if (found := barrier_of(lottery, twin, place)) is not None}
