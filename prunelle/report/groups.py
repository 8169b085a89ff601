"""Rows grouped by run and variant: median and spread over seeds, and pruned against dense at the same seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from prunelle.report.rows import Row, number


@dataclass(frozen=True)
class Spread:
    """A median with its smallest and largest value, over `num` measured models."""

    median: float
    low: float
    high: float
    num: int


@dataclass(frozen=True)
class Group:
    """All rows of one run and variant; partners[i] is the dense row of the same seed as rows[i], or None."""

    run: str
    variant: str
    rows: Sequence[Row]
    partners: Sequence[Row | None]


def spread(values: Sequence[float | None]) -> Spread | None:
    """Median, smallest and largest of the values that are there; None when none is.

    >>> spread([3.0, None, 1.0, 8.0])
    Spread(median=3.0, low=1.0, high=8.0, num=3)
    """
    known = [value for value in values if value is not None]
    return Spread(median(known), min(known), max(known), len(known)) if known else None


def group_rows(rows: Sequence[Row]) -> list[Group]:
    """Groups in the order in which their runs first appear, dense before pruned. Diverged rows are not dropped."""
    runs = list(dict.fromkeys(str(row.get("run") or "") for row in rows))
    variants = sorted({str(row.get("variant") or "") for row in rows}, key=lambda name: (name != "dense", name))
    groups = []
    for run in runs:
        for variant in variants:
            own = [r for r in rows if str(r.get("run") or "") == run and str(r.get("variant") or "") == variant]
            if own:
                groups.append(Group(run, variant, own, [dense_partner(row, rows) for row in own]))
    return groups


def dense_partner(row: Row, rows: Sequence[Row]) -> Row | None:
    """The dense row that a pruned one is compared with: the one whose id is its dense_id, where it says so; else of
    the same seed and run; failing that, the only dense row of the same seed and model. None for a dense row, and
    where the choice would be a guess."""
    if row.get("variant") == "dense":
        return None
    if row.get("dense_id") is not None:
        return next((other for other in rows if other.get("id") == row["dense_id"]), None)
    dense = [other for other in rows if other.get("variant") == "dense" and other.get("seed") == row.get("seed")]
    for keys in (("run",), ("model",)):
        matching = [other for other in dense if all(other.get(key) == row.get(key) for key in keys)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            return None
    return None


def paired(group: Group, key: str, compare: Callable[[float, float], float | None]) -> Spread | None:
    """Spread of compare(value of the row, value of its dense partner) over the rows where both were measured.

    compare may give None for a pair that has no answer; it is left out.
    """
    results = []
    for row, partner in zip(group.rows, group.partners, strict=True):
        own, dense = number(row.get(key)), number(partner.get(key)) if partner else None
        if own is not None and dense is not None:
            results.append(compare(own, dense))
    return spread(results)


def timing_settings(rows: Sequence[Row]) -> set[tuple]:
    """The (runtime, batch, threads) under which latencies were taken; with more than one they do not compare."""
    timed = [row for row in rows if number(row.get("latency_median_ms")) is not None]
    return {(row.get("runtime"), row.get("batch"), row.get("threads")) for row in timed}
