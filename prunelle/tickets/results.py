"""What a search has found: a row a training, a point a (variant, rewinding point, share kept), the winning ticket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from prunelle.measure.intervals import interval
from prunelle.tickets.grid import Member, dense
from prunelle.tickets.lottery import Lottery, Place, folder_of
from prunelle.tickets.sweep import Swept

MATCHES = 0.001
"""A ticket matches the dense network when it is at most a tenth of a point below."""
CLOCKED = ("seconds", "how")
"""Columns that another start need not repeat."""


def rows_of(lottery: Lottery, swept: Swept, place: Place, steps_per_epoch: int) -> list[dict[str, Any]]:
    """A flat dict a member, in the grid's order. status: done, diverged, retired (converged or hopeless) or skipped.

    top1 as fractions. All but CLOCKED are the same in every start, with every engine and any number of workers, on a
    CPU; of networks trained fused with other layers than linear ones and ReLUs for batches of a multiple of 32, see
    fused.FusedTrainer.
    """
    found = []
    for member in swept.members:
        row: dict[str, Any] = {
            "variant": member.variant,
            "kept": member.kept,
            "rewind": member.rewind,
            "rewind_epoch": member.rewind / steps_per_epoch,
            "seed": member.seed,
            "status": "skipped",
            "run": folder_of(lottery, member, place).name,
        }
        if member in swept.cards:
            own, before = swept.cards[member], swept.cards[dense(member.seed)]["found"]
            result = own["found"]
            row |= {
                "status": "diverged" if result["diverged"] else result["left"] or "done",
                **{key: result[key] for key in ("val_top1", "val_loss", "test_top1", "nnz", "prunable", "updates")},
                "dense_val_top1": before["val_top1"],
                "dense_test_top1": before["test_top1"],
                "barrier": swept.barriers.get(member),
                **own["took"],
            }
        found.append(row)
    return found


def points_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One dict a (variant, rewind, kept) in the grid's order, over seeds: num_seeds; median, low and high (over seeds)
    of val_top1 and of test_top1; gain: the mean of test_top1 less that of the dense network of the same seed, and its
    95 % interval."""
    alike: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] not in ("skipped", "diverged"):
            alike.setdefault((row["variant"], row["rewind"], row["kept"]), []).append(row)
    found = []
    # Sorted, as the first seed's may have been skipped.
    for (variant, rewind, kept), own in sorted(alike.items(), key=lambda item: (-item[0][2], item[0][1])):
        point: dict[str, Any] = {"variant": variant, "rewind": rewind, "kept": kept, "num_seeds": len(own)}
        for split in ("val_top1", "test_top1"):
            values = [row[split] for row in own]
            point |= {split: median(values), f"{split}_low": min(values), f"{split}_high": max(values)}
        gains = [row["test_top1"] - row["dense_test_top1"] for row in own]
        point["gain_low"], point["gain"], point["gain_high"] = interval(gains)
        found.append(point)
    return found


@dataclass(frozen=True)
class Winner:
    """member: the ticket. matches: whether its point is at most MATCHES below the dense networks on val."""

    member: Member
    matches: bool


def winner(swept: Swept, points: Sequence[Mapping[str, Any]]) -> Winner | None:
    """The sparsest ticket whose median val accuracy matches the dense networks', of its seeds the best on val; where
    none matches, the best on val. Learning-rate rewinding and fine-tuning count as tickets. None without any.

    A seed that diverged or was skipped counts as accuracy 0: those that are left do not speak for all."""
    wanted = median(swept.cards[m]["found"]["val_top1"] for m in swept.members if m.variant == "dense") - MATCHES
    tickets = [point for point in points if point["variant"] in ("ticket", "lr", "finetune")]
    if not tickets:
        return None
    ranked = [(median(reached(swept, m) for m in seeds_of(swept, point)), point) for point in tickets]
    matching = [(val, point) for val, point in ranked if val >= wanted]
    if matching:
        _, best = min(matching, key=lambda pair: (pair[1]["kept"], -pair[0]))
    else:
        _, best = max(ranked, key=lambda pair: pair[0])
    own = [m for m in seeds_of(swept, best) if m in swept.cards and not swept.cards[m]["found"]["diverged"]]
    return Winner(max(own, key=lambda m: (reached(swept, m), -m.seed)), bool(matching))


def seeds_of(swept: Swept, point: Mapping[str, Any]) -> list[Member]:
    """All members of a point, also those that did not come to an end."""
    place = (point["variant"], point["rewind"], point["kept"])
    return [member for member in swept.members if (member.variant, member.rewind, member.kept) == place]


def reached(swept: Swept, member: Member) -> float:
    """A member's val accuracy, 0 where it diverged or was skipped."""
    found = swept.cards[member]["found"] if member in swept.cards else {"diverged": True}
    return 0.0 if found["diverged"] else found["val_top1"]


def retired(swept: Swept) -> dict[str, Any]:
    """What early retirement saved and cost: members and updates left out, their hours at this search's pace, and from
    those audited the change of val accuracy between when they would have left and their end (None without any)."""
    cards = [card for member, card in swept.cards.items() if member.variant != "dense"]
    left = [card for card in cards if card["found"]["left"]]
    pace = sum(c["took"]["seconds"] for c in cards) / max(1, sum(c["found"]["updates"] for c in cards))
    spared = sum(card["found"]["updates_left_out"] for card in left)
    audited = [card["found"] for card in cards if card["found"]["would_leave"]]
    changes = [found["val_top1"] - found["would_leave"][1] for found in audited]
    return {
        "members": len(left),
        "updates_saved": spared,
        "updates": sum(card["found"]["updates"] for card in cards),
        "hours_saved": spared * pace / 3600,
        "audited": len(audited),
        "accuracy_cost": mean(changes) if changes else None,
    }
