"""What to try next: pure functions of what is known so far, so that a search that was killed goes on as it would have.

First the dense network in every format; then every cut in one shot, looked at in the formats it is good for; then
trainings of the cuts on or near the frontier (tuning.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prunelle.fit.budget import Budget, best
from prunelle.fit.candidates import ZEROS, Candidate, Cut
from prunelle.fit.entry import Entry
from prunelle.fit.setup import SMALL, VALUES, Setup, small_of
from prunelle.fit.tuning import File, Tuning, tuned

DENSE_SHARE, NEEDLESS_SHARE, LOOKS_SHARE = 0.25, 0.25, 0.45
"""Of the time, after which no further file of the dense network is made, no further cut looked at in one shot that
others make needless, and none at all."""
FIRST = ("native int16", "onnx int8", "openvino int8", "native fp32", "onnx fp32", "openvino bf16")
"""Files that are most often the fastest, in this order; others come after them."""
MOST_WHERE_TIGHT = 4
"""Larger files of the dense network that are made where only the small one can fit: for their times."""
LEAST = 2
"""Files of the dense network, and cuts, that are looked at however short the time is."""


def dense_candidates(setup: Setup) -> list[Candidate]:
    """The dense network in all files, and with shared values and 4 bits where size counts."""
    found = [Candidate((), (), name, precision) for name, precision in setup.files if name not in SMALL]
    found.sort(key=lambda one: FIRST.index(one.file) if one.file in FIRST else len(FIRST))
    if small := small_of(setup):
        found = found[:MOST_WHERE_TIGHT] if setup.tight else found
        found[LEAST:LEAST] = [Candidate((), (), small, "fp32", VALUES[-1])]
        found.append(Candidate((), (), small, "fp32", bits=4))
    return found


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
