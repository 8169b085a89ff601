"""The first screen of a search for tickets: the verdict, the sentences behind it, its figures, and the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prunelle.report import tickets_verdict, tickets_words
from prunelle.report.cells import points
from prunelle.report.fitted_words import score
from prunelle.report.plain import text
from prunelle.report.rows import Row
from prunelle.report.speed import section
from prunelle.report.tickets_held import Held, held_against
from prunelle.report.tickets_picture import Scene
from prunelle.report.tickets_tables import held_table


def held_of(scene: Scene, rows: Sequence[Row]) -> list[Held]:
    """The winner beside its controls."""
    return [] if scene.winner is None else held_against(rows, scene.winner)


def look(winner: Row | None, held: Sequence[Held], below: bool) -> str:
    """A CSS class: missed where nothing matches the dense network, unsure where controls are not beaten or the test
    split says otherwise, '' else."""
    if winner is None or not winner["matches"]:
        return "missed"
    return "" if held and not below and all(one.clear for one in held) else "unsure"


def answer(scene: Scene, rows: Sequence[Row], retired: Mapping[str, Any], within: float) -> str:
    """The section. within: how far below the dense network still matches."""
    winner, point, held = scene.winner, scene.best, held_of(scene, rows)
    below = "no" if point is None else tickets_verdict.below_on_test(point, within)
    told = [f"<h2>{text(tickets_verdict.verdict(winner, held, below))}</h2>"]
    if winner is not None and point is not None:
        epoch = scene.rewinds.get(winner["rewind"])
        reached = tickets_verdict.reached(winner, point, epoch, scene.dense, scene.metric)
        first = f"{reached} {tickets_verdict.chosen(winner, within)}"
        against = " ".join(tickets_verdict.against(held, scene.metric))
        told += [f'<p class="lead">{text(one)}</p>' for one in (first, against) if one]
        if winner.get("path"):
            rest = text(which(scene, winner, point))
            told.append(f'<p class="lead">It is saved in <code>{text(winner["path"])}</code>{rest}</p>')
        told.append(f'<div class="tiles">{tiles(scene, winner, point, held)}</div>')
    last = [tickets_words.lost(rows), tickets_words.retirement(retired, rows)]
    told.append(f'<p class="why">{text(" ".join(one for one in last if one))}</p>')
    mark = look(winner, held, below != "no")
    inside = "".join(told).replace(" %", "\u00a0%").replace(" ± ", "\u00a0±\u00a0")
    return f'<section id="answer"{f" class={mark}" if mark else ""}>{inside}</section>\n'


def which(scene: Scene, winner: Row, point: Row) -> str:
    """Which of the winner's seeds the file is."""
    if point["num_seeds"] < 2:
        return "."
    top1 = winner.get("test_top1")
    own = "" if top1 is None else f", {score(top1, scene.metric)} on the test split"
    return f": seed {winner['seed']}, of its {point['num_seeds']} seeds the best on the validation split{own}."


def tiles(scene: Scene, winner: Row, point: Row, held: Sequence[Held]) -> str:
    """Sparsity, accuracy, the lead over the closest control, the rewinding point."""
    own, dense = tickets_words.spread_of(point), tickets_words.spread_of(scene.dense)
    low, high = (score(value, scene.metric) for value in (own.low, own.high))
    over = f"{low} to {high}, {own.num} seeds" if own.num > 1 else "a single seed"
    change = f"dense {score(dense.median, scene.metric)}, change {tickets_words.gain(point)} points"
    sparsity = f"{tickets_words.one_in(winner['kept'])}, {100 * (1 - winner['kept']):.4g} % are zero"
    origin = tickets_words.origin(winner["rewind"], scene.rewinds.get(winner["rewind"]))
    update = (
        f"update {winner['rewind']:,} of the dense run"
        if winner["rewind"]
        else "the weights that the dense run began with"
    )
    return "".join(
        [
            tile("Weights kept", tickets_words.share(winner["kept"]), text(sparsity)),
            tile("Accuracy, test split", score(own.median, scene.metric), f"{text(over)}<br>{text(change)}"),
            closest(held),
            tile("Rewound to", origin, text(update)),
        ]
    )


def closest(held: Sequence[Held]) -> str:
    """The tile of the control that comes closest; '' where none can be compared."""
    known = [(one.lead, one) for one in held if one.lead is not None]
    if not known:
        return ""
    lead, one = min(known, key=lambda pair: pair[0])
    if one.own is not None and one.own.num == 1:
        sign = "one seed, so there is no band"
    elif one.clear:
        sign = '<span class="good">✓ more than the band</span>'
    else:
        sign = '<span class="bad">✗ not more than the band</span>'
    over = f"against {tickets_words.NAMES[one.control]}"
    over += f", the closest of {len(known)} controls" if len(known) > 1 else ""
    return tile("Ahead of the controls", f"{points(lead)} points", f"{text(over)}<br>{sign}")


def tile(title: str, figure: str, more: str) -> str:
    """more: HTML."""
    return f'<div class="tile">{text(title)}<b>{text(figure)}</b><small>{more}</small></div>'


def beside(scene: Scene, rows: Sequence[Row]) -> str:
    """The section of the controls, '' without any."""
    if not (held := held_of(scene, rows)):
        return ""
    hint = (
        '<p class="hint">Test accuracy over the seeds that both have: the median, and the range of the seeds. Ahead by '
        "more than the band: the ticket’s worst seed is above the control’s best.</p>"
    )
    own = "the winner" if scene.winner and scene.winner["matches"] else "the best ticket"
    return section("beside", f"{own.capitalize()} beside its controls", hint + held_table(held, own, scene.metric))
