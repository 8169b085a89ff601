"""The first screen of a class-wise network: what its members reach together, what they cost, its figures."""

from __future__ import annotations

from collections.abc import Sequence

from prunelle.report import classwise_words as words
from prunelle.report.cells import count, kilobytes, millions, percent, significant
from prunelle.report.fitted_words import TOP1, score
from prunelle.report.plain import text
from prunelle.report.rows import Row, number
from prunelle.report.speed import ratio_text
from prunelle.report.tickets_answer import tile


def answer(whole: Row, combined: Row, num: int, speed: Sequence[Row], saved: Row | None) -> str:
    """The section. num: how many members."""
    images = words.counted(whole["num_test"], "test image")
    first = f"The change is {words.change(whole, combined)} on {images}."
    leads = [f"{first} {words.cost(whole, combined, num)}", words.speed_words(speed)]
    told = [f"<h2>{text(words.verdict(whole, combined, num))}</h2>"]
    told += [f'<p class="lead">{text(one)}</p>' for one in leads if one]
    if combined.get("path"):
        told.append(
            f'<p class="lead">It is saved in <code>{text(combined["path"])}</code>, '
            "a folder that loads as a MODEL and combines its members.</p>"
        )
    told.append(f'<div class="tiles">{tiles(whole, combined, num, speed, saved)}</div>')
    inside = "".join(told).replace(" %", "\u00a0%").replace(" ×", "\u00a0×")
    return f'<section id="answer">{inside}</section>\n'


def tiles(whole: Row, combined: Row, num: int, speed: Sequence[Row], saved: Row | None) -> str:
    """Accuracy, the largest member, all members, the time, what early stopping left out."""
    found = [accuracy(whole, combined)]
    if (part := words.times(combined.get("macs_largest"), whole.get("macs"))) is not None:
        each = f"{millions(combined['macs_largest'])} M of {millions(whole['macs'])} M multiply-adds"
        name = "The member" if num == 1 else f"Largest of {num} members"
        found.append(tile(name, words.shown(part), f"{each}<br>the time of one image follows the slowest"))
    found += [together(whole, combined), latency(speed), early(saved)]
    return "".join(found)


def accuracy(whole: Row, combined: Row) -> str:
    low, high = number(combined.get("top1_low")), number(combined.get("top1_high"))
    over = words.counted(whole["num_test"], "test image")
    if low is not None and high is not None:
        over = f"{percent(low)} to {percent(high)}, {over}"
    held = f"whole network {score(whole['top1'], TOP1)}, change {words.change(whole, combined)}"
    return tile("Combined top-1", score(combined["top1"], TOP1), f"{text(over)}<br>{text(held)}")


def together(whole: Row, combined: Row) -> str:
    """The honest size: everything that runs for one image."""
    macs = words.times(combined.get("macs"), whole.get("macs"))
    if macs is None:
        return ""
    lines = [f"{millions(combined['macs'])} M of {millions(whole['macs'])} M multiply-adds"]
    if (params := words.times(combined.get("params"), whole.get("params"))) is not None:
        lines.append(f"parameters {words.shown(params)}, {count(combined['params'])} of {count(whole['params'])}")
    sizes = [number(row.get("size_bytes")) for row in (combined, whole)]
    if sizes[0] is not None:
        beside = "" if sizes[1] is None else f", the whole network {kilobytes(sizes[1])} KB"
        lines.append(f"its folder {kilobytes(sizes[0])} KB{beside}")
    return tile("All members together", words.shown(macs), "<br>".join(map(text, lines)))


def latency(speed: Sequence[Row]) -> str:
    if (found := words.side_by_side(speed)) is None:
        return ""
    best, base = found
    times = f"{significant(best['ms'])} ms against {significant(base['ms'])} ms ({base['what']})"
    over = ratio_text(best).partition(" ")[2].strip("()")
    lines = [times, ", ".join(word for word in (str(best["runtime"]), over) if word)]
    return tile("Members side by side", f"{best['ratio']:.2f} × as fast", "<br>".join(map(text, lines)))


def early(saved: Row | None) -> str:
    if not saved or number(saved.get("share")) is None:
        return ""
    total = saved["epochs"] + saved["epochs_saved"]
    cost = number(saved.get("cost"))
    if cost is None:
        title, more = "Member-epochs saved", [f"{saved['epochs_saved']:,} of {total:,} left out by early stopping"]
    else:
        low, high = number(saved.get("cost_low")), number(saved.get("cost_high"))
        spread = "" if low is None or high is None else f" ({100 * low:+.2f} to {100 * high:+.2f})"
        title = "Member-epochs that can be saved"
        more = [
            f"{saved['epochs_saved']:,} of {total:,} that early stopping would leave out; all were trained",
            f"to the end members answer {100 * cost:+.2f} points better together{spread}",
        ]
    return tile(title, f"{100 * saved['share']:.1f} %", "<br>".join(map(text, more)))
