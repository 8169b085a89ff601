"""Entries as plain rows, for the table, the files and the page."""

from __future__ import annotations

from typing import Any

from prunelle.fit.budget import front
from prunelle.fit.commands import make_again
from prunelle.fit.entry import Entry
from prunelle.fit.outcome import Outcome, Place


def rows(outcome: Outcome, place: Place) -> list[dict[str, Any]]:
    """A row an entry, the best first: figures, what was done to it, where it stands, and the command that makes it.

    front: no other is at least as accurate, as fast and as small. met: keeps all limits on the validation split.
    """
    best = {one.candidate.id for one in front(outcome.entries)}
    return [row(one, outcome, place, one.candidate.id in best) for one in outcome.entries]


def row(one: Entry, outcome: Outcome, place: Place, on_front: bool) -> dict[str, Any]:
    candidate = one.candidate
    return {
        "id": candidate.id,
        "name": one.name,
        "network": candidate.network,
        "file": candidate.file,
        "techniques": list(candidate.techniques),
        "epochs": sum(candidate.epochs),
        "status": one.status,
        "why": one.why,
        "runtime": one.runtime,
        "val_top1": one.val_top1,
        "drop": one.drop,
        "drop_error": one.drop_error,
        "median_ms": one.median_ms,
        "p95_ms": one.p95_ms,
        "share": one.share,
        "share_low": one.share_low,
        "share_high": one.share_high,
        "size_bytes": one.size_bytes,
        "params": one.params,
        "nnz": one.nnz,
        "num_samples": one.num_samples,
        "final": one.final,
        "seconds": one.seconds,
        "front": on_front,
        "met": one.fit and outcome.budget.met(one),
        "chosen": candidate.id == outcome.chosen.candidate.id,
        "command": make_again(one, place),
    }
