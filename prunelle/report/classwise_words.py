"""The sentences of a class-wise network: what its members reach together, what they cost, where answers go wrong."""

from __future__ import annotations

from collections.abc import Sequence

from prunelle.report.cells import points, significant
from prunelle.report.fitted_words import TOP1, score
from prunelle.report.rows import Row, number
from prunelle.report.speed import ratio_text

SIDE, CUT, WHOLE = "members side by side", "cut as one network", "whole"
FOUND = {
    "random": "The classes were put into groups at random.",
    "similar": "Classes that are most alike share a member.",
    "dissimilar": "Classes that are least alike share a member.",
    "kmeans": "The groups are clusters of equal size (balanced k-means).",
    "consecutive": "Classes with consecutive numbers share a member.",
    "given": "The groups were given.",
}


def counted(num: int, one: str) -> str:
    """
    >>> counted(1, "member"), counted(1200, "test image")
    ('1 member', '1,200 test images')
    """
    return f"{num:,} {one}{'' if num == 1 else 's'}"


def times(own: object, whole: object) -> float | None:
    """own / whole; None where one is not known or the whole is 0."""
    top, bottom = number(own), number(whole)
    return top / bottom if top is not None and bottom else None


def shown(ratio: float) -> str:
    """
    >>> shown(0.4812), shown(2.4), shown(0.0123)
    ('0.48 ×', '2.40 ×', '0.0123 ×')
    """
    return f"{ratio:.2f} ×" if ratio >= 0.1 else f"{significant(ratio)} ×"


def verdict(whole: Row, combined: Row, num: int) -> str:
    """The first sentence."""
    part = times(combined.get("macs_largest"), whole.get("macs"))
    size = "" if part is None else f" of {'' if num == 1 else 'at most '}{shown(part)} the multiply-adds"
    answer = "answers" if num == 1 else "answer together"
    return (
        f"{counted(num, 'member')}{size} {answer} with {score(combined['top1'], TOP1)} {TOP1}, the whole network with "
        f"{score(whole['top1'], TOP1)}."
    )


def change(whole: Row, combined: Row) -> str:
    return f"{points(combined['top1'] - whole['top1'])} points"


def cost(whole: Row, combined: Row, num: int) -> str:
    """What all members together take against the whole network, '' where that is not known."""
    macs, params = (times(combined.get(key), whole.get(key)) for key in ("macs", "params"))
    if macs is None:
        return ""
    begin = "The member costs" if num == 1 else "All members together cost"
    hold = "" if params is None else f" and {'holds' if num == 1 else 'hold'} {shown(params)} its parameters"
    end = ": the work is spread, not saved" if macs > 1 and num > 1 else ""
    return f"{begin} {shown(macs)} the multiply-adds of the whole network{hold}{end}."


def side_by_side(speed: Sequence[Row]) -> tuple[Row, Row] | None:
    """(members side by side where they gain most, what they are held against in that runtime)."""
    found = [row for row in speed if is_of(row, SIDE) and number(row.get("ratio")) is not None]
    if not found:
        return None
    best = max(found, key=lambda row: row["ratio"])
    return best, next(row for row in speed if row["runtime"] == best["runtime"])


def is_of(row: Row, kind: str) -> bool:
    """Whether that was timed, in whatever settings.

    >>> is_of({"what": "whole, 2 threads"}, WHOLE)
    True
    """
    return str(row["what"]).startswith(kind)


def speed_words(speed: Sequence[Row]) -> str:
    """The gain of members side by side, and what the same network cut as one does beside it; '' without either."""
    if (found := side_by_side(speed)) is None:
        return ""
    best, base = found
    told = (
        f"Members side by side answer one image in {significant(best['ms'])} ms with {best['runtime']}, "
        f"{ratio_text(best)} times as fast as {base_words(base)}{doubt(best)}."
    )
    cuts = [row for row in speed if row["runtime"] == best["runtime"] and is_of(row, CUT)]
    cuts = [row for row in cuts if number(row.get("ratio")) is not None]
    if not cuts:
        return told
    cut = max(cuts, key=lambda row: row["ratio"])
    return (
        f"{told} The same network cut as one takes {significant(cut['ms'])} ms, {ratio_text(cut)} times as fast as "
        f"the whole: {beside(cut, best)}."
    )


def base_words(base: Row) -> str:
    """
    >>> base_words({"what": "whole, 2 threads", "ms": 2.0})
    'the whole network (2 threads, 2.00 ms)'
    """
    name, _, rest = str(base["what"]).partition(", ")
    inside = ", ".join(word for word in (rest, f"{significant(base['ms'])} ms") if word)
    return f"{'the whole network' if name == WHOLE else name} ({inside})"


def ends(row: Row) -> tuple[float, float]:
    """The ratio's interval, the ratio itself where there is none."""
    low, high = number(row.get("ratio_low")), number(row.get("ratio_high"))
    return (row["ratio"], row["ratio"]) if low is None or high is None else (low, high)


def doubt(row: Row) -> str:
    low, high = ends(row)
    return ", which is slower" if high < 1 else ", which is no clear gain" if low <= 1 else ""


def beside(cut: Row, members: Row) -> str:
    """
    >>> beside({"ratio": 2.0}, {"ratio": 1.5})
    'faster than the members'
    """
    if ends(cut)[0] > ends(members)[1]:
        return "faster than the members"
    if ends(cut)[1] < ends(members)[0]:
        return "slower than the members"
    return "as fast as the members, as far as these intervals tell"


def wrong_words(within: int, across: int) -> str:
    """Of all wrong answers, how many lie in the right group.

    >>> wrong_words(3, 1)
    'Of 4 wrong answers, 3 (75.0 %) lie within the right group and 1 (25.0 %) lies in another group.'
    """
    if not (total := within + across):
        return "No test image was answered wrongly."
    inside, outside = (f"{n:,} ({100 * n / total:.1f} %) {'lies' if n == 1 else 'lie'}" for n in (within, across))
    return f"Of {counted(total, 'wrong answer')}, {inside} within the right group and {outside} in another group."


def gain_words(row: Row) -> str:
    """What a grouping does against random; '' for random itself.

    >>> gain_words({"grouping": "similar", "num_seeds": 5, "gain": .004, "gain_low": .001, "gain_high": .007})
    'similar gains over random: +0.40 points (+0.10 to +0.70), the interval excludes 0.'
    """
    gain, low, high = (number(row.get(key)) for key in ("gain", "gain_low", "gain_high"))
    if gain is None:
        return ""
    name = row["grouping"]
    if row["num_seeds"] < 2 or low is None or high is None:
        return f"{name}: {points(gain)} points against random, which a single seed cannot tell from chance."
    figures = f"{points(gain)} points ({points(low)} to {points(high)})"
    if low <= 0 <= high:
        return f"{name} does not differ from random by these {row['num_seeds']} seeds: {figures}."
    return f"{name} {'gains over' if gain > 0 else 'loses against'} random: {figures}, the interval excludes 0."
