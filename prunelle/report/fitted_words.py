"""What a search found, in sentences: which file to take, why, and how far over a limit it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunelle.report.cells import kilobytes, significant
from prunelle.report.rows import Row

TOP1 = "top-1"
FORMATS = {
    "native": "a C library made for this network",
    "onnx": "an ONNX file for ONNX Runtime",
    "openvino": "an OpenVINO model",
    "packed": "a small packed file that PyTorch runs",
    "packed-native": "a small packed file that Prunelle, with a C compiler, makes a C library of when it opens it",
}
PRECISIONS = {
    "fp32": "32-bit floats",
    "fp16": "16-bit floats",
    "bf16": "16-bit floats (bfloat16)",
    "int16": "16-bit integers",
    "int8": "8-bit integers",
}


@dataclass(frozen=True)
class Limit:
    """key: ms, share (of the dense network's time), kb or drop. allowed: at most, in that unit."""

    key: str
    allowed: float

    @property
    def what(self) -> str:
        return {"kb": "size", "drop": "accuracy"}.get(self.key, "time")

    def used(self, row: Row) -> float:
        return used(self.key, row)

    def over(self, row: Row) -> float:
        """How much too much, in its unit; 0 where the limit is kept."""
        over = self.used(row) - self.allowed
        slack = 1e-9 if self.key == "drop" else 1e-9 * self.allowed
        return over if over > slack else 0.0

    @property
    def told(self) -> str:
        """
        >>> Limit("kb", 60).told, Limit("drop", 0.3).told, Limit("share", 0.5).told
        ('at most 60 KB', 'at most 0.3 points lost', 'at most 0.5 of the dense network’s time')
        """
        return f"at most {self.amount}"

    @property
    def amount(self) -> str:
        lost = " point lost" if self.allowed == 1 else " points lost"
        ends = {"ms": " ms", "kb": " KB", "drop": lost, "share": " of the dense network’s time"}
        return f"{plain(self.allowed)}{ends[self.key]}"

    def missed(self, row: Row) -> str:
        """By how much, '' where it is kept.

        >>> Limit("kb", 60).missed({"size_bytes": 177_000}), Limit("drop", 0.5).missed({"drop": 0.75})
        ('117 KB over', '0.250 points over')
        """
        units = {"ms": " ms", "kb": " KB", "share": " of the dense time", "drop": " points"}
        return f"{significant(over)}{units[self.key]} over" if (over := self.over(row)) else ""

    def times(self, row: Row) -> str:
        """How many times what is allowed, '' where it is kept; of accuracy the points over.

        >>> Limit("kb", 60).times({"size_bytes": 177_000}), Limit("drop", 0.5).times({"drop": 0.75})
        ('2.95 × the limit', '0.250 points over')
        """
        if self.key == "drop" or not self.over(row):
            return self.missed(row)
        times = self.used(row) / self.allowed
        return (
            f"{times:,.0f} × the limit"
            if times >= 100
            else f"{times:.3g} × the limit"
            if times >= 1.005
            else "just over"
        )


def used(key: str, row: Row) -> float:
    """What a row takes, in the unit of a limit."""
    if key == "kb":
        return row["size_bytes"] / 1e3
    return row[{"ms": "median_ms", "share": "share", "drop": "drop"}[key]]


def limits_of(budget: Mapping[str, float | None]) -> list[Limit]:
    """max_ms, max_ratio, max_kb, max_drop as limits; those that are None are left out."""
    keys = {"max_ms": "ms", "max_ratio": "share", "max_kb": "kb", "max_drop": "drop"}
    return [Limit(key, value) for name, key in keys.items() if (value := budget.get(name)) is not None]


def plain(value: float) -> str:
    return f"{value:.10g}"


def done_to(row: Row) -> str:
    """What was done to the network, without the file's word.

    >>> done_to({"name": "90 % zeros by cost, 8 epochs; native int16"})
    '90 % of the weights zero by cost, 8 epochs of training'
    """
    done = str(row["name"]).rpartition("; ")[0] or str(row["name"])
    done = re.sub(r"^dense\b", "nothing removed", done)
    done = re.sub(r"% zeros\b", "% of the weights zero", done)
    done = re.sub(r" by (channels|blocks)\b", r" by removing \1", done)
    return re.sub(r"\b(\d+ epochs?)(?=,|$)", r"\1 of training", done)


def file_in_words(row: Row) -> str:
    """
    >>> file_in_words({"file": "native int16"}), file_in_words({"file": "packed"})
    ('a C library made for this network, 16-bit integers', 'a small packed file that PyTorch runs')
    """
    name, _, precision = str(row["file"]).partition(" ")
    words = [FORMATS.get(name, name), PRECISIONS.get(precision, precision)]
    return ", ".join(word for word in words if word)


def change(drop: float, error: float | None = None) -> str:
    """A drop as a change in points: a loss is negative.

    >>> change(0.04, 0.063), change(-1.5), change(0.001)
    ('−0.04 ± 0.06', '+1.50', '0.00')
    """
    text = "0.00" if abs(drop) < 0.005 else f"{-drop:+.2f}".replace("-", "−")
    return text if error is None else f"{text} ± {error:.2f}"


def lost(drop: float) -> str:
    """
    >>> lost(0.03), lost(-0.2), lost(0.0)
    ('0.03 points less accurate than the dense network', '0.20 points more accurate than the dense network', \
'as accurate as the dense network')
    """
    if abs(drop) < 0.005:
        return "as accurate as the dense network"
    return f"{abs(drop):.2f} points {'less' if drop > 0 else 'more'} accurate than the dense network"


def score(value: float, metric: str) -> str:
    """A share right in %, any other metric as it is."""
    return f"{100 * value:.2f} %" if metric == TOP1 else significant(value, 4)


def on_test(chosen: Row, test: Mapping[str, Any]) -> dict[str, Any]:
    """The chosen row with the test split's loss in place of the validation split's."""
    return {**chosen, "drop": test["drop"]}


def verdict(limits: Sequence[Limit], row: Row) -> str:
    """Whether the budget was met, first and plainly. row: with the test split's drop."""
    missed = [
        f"it loses {one.used(row):.3g} points where {plain(one.allowed)} are allowed"
        if one.key == "drop"
        else f"{one.what} is {one.missed(row)} the limit of {one.amount}"
        for one in limits
        if one.over(row)
    ]
    if not missed:
        return "The budget is met: every limit is kept." if len(limits) > 1 else "The budget is met: the limit is kept."
    return f"The budget was not met: {', and '.join(missed)}."


def advice(take: str, chosen: Row, test: Mapping[str, Any], metric: str, met: bool) -> tuple[str, str, str]:
    """(before, the file, after) of the one sentence that says which file to take."""
    before, after = score(test["top1_dense"], metric), score(test["top1"], metric)
    instead = (
        f" ({after} instead of {before} on the test split)" if before != after else f" ({after} on the test split)"
    )
    figures = (
        f"It takes {significant(chosen['median_ms'])} ms an image, {significant(chosen['share'], 2)} of the dense "
        f"network’s time; it is {kilobytes(chosen['size_bytes'])} KB and {lost(test['drop'])}{instead}."
    )
    first = "Take" if met else "The nearest file is"
    return first, take, f": {done_to(chosen)}; {file_in_words(chosen)}. {figures}"


def reason(rows: Sequence[Row], limits: Sequence[Limit], chosen: Row, met: bool) -> str:
    """Why this one and no other."""
    files = [row for row in rows if row["status"] == "fit"]
    keeping = [row for row in files if row["met"]]
    total = f"{len(files)} file{'s' if len(files) != 1 else ''} that were made and measured"
    if not keeping:
        return f"None of the {total} keeps every limit; this one exceeds them by the smallest share in all."
    begin = f"{len(keeping)} of the {total} keep{'s' if len(keeping) == 1 else ''} every limit on the validation split"
    if not met and chosen["met"]:
        return f"{begin}, this one among them; on the test split, which is read once and last, it does not."
    if len(keeping) == 1 and len(files) > 1:
        return f"Of the {total} this is the only one that keeps every limit on the validation split."
    if len(files) == 1:
        return "No other file was made."
    return f"{begin}; {best_of(keeping, limits, chosen)}."


def best_of(keeping: Sequence[Row], limits: Sequence[Limit], chosen: Row) -> str:
    """What sets the chosen one apart from the others that keep the limits, as far as it is so."""
    if any(one.key != "drop" for one in limits):
        if all(row["val_top1"] <= chosen["val_top1"] for row in keeping):
            same = [row for row in keeping if row["val_top1"] == chosen["val_top1"] and row is not chosen]
            cheapest = same and all(cost(row) >= cost(chosen) for row in same)
            tie = ", and none that equals it costs less in time × size" if cheapest else ""
            return f"of these {len(keeping)} none is more accurate than this one{tie}"
    else:
        sure = [row for row in keeping if row["drop"] + row["drop_error"] <= limits[0].allowed] or keeping
        if all(row["median_ms"] >= chosen["median_ms"] for row in sure):
            return "this one is the fastest of those that keep the limit by more than the measurement’s error"
    return "this one is the best of those that were measured a second time and longer, as results are"


def cost(row: Row) -> float:
    return row["median_ms"] * row["size_bytes"]
