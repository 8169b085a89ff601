"""A made-up search for tickets, small enough to work out by hand: 2 shares kept, 2 rewinding points, 3 seeds."""

from statistics import median

from prunelle.measure.intervals import interval
from prunelle.report.tickets import TicketReport

DENSE = (0.980, 0.981, 0.982)
PER_EPOCH = 200


def row(variant: str, kept: float, rewind: int, seed: int, top1: float, **more) -> dict:
    """A training as tickets.results.rows_of tells it; val is 0.1 points above test."""
    found = {
        "variant": variant, "kept": kept, "rewind": rewind, "rewind_epoch": rewind / PER_EPOCH, "seed": seed,
        "status": "done", "run": f"{variant}{kept}-{rewind}-{seed}", "val_top1": top1 + 0.001, "val_loss": 0.1,
        "test_top1": top1, "nnz": round(1000 * kept), "prunable": 1000, "updates": 800 - rewind,
        "dense_val_top1": DENSE[seed] + 0.001, "dense_test_top1": DENSE[seed], "barrier": None, "seconds": 1.5,
        "how": "fused",
    }  # fmt: skip
    return found | more


def three(variant: str, kept: float, rewind: int, *top1: float, **more) -> list[dict]:
    return [row(variant, kept, rewind, seed, value, **more) for seed, value in enumerate(top1)]


def skipped(variant: str, kept: float, rewind: int, seed: int) -> dict:
    whole = row(variant, kept, rewind, seed, 0.0)
    known = ("variant", "kept", "rewind", "rewind_epoch", "seed", "run")
    return {key: whole[key] for key in known} | {"status": "skipped"}


def points_of(rows: list[dict]) -> list[dict]:
    """As tickets.results.points_of, plainly; a test holds the two to each other."""
    found = []
    alike = {(row["variant"], row["rewind"], row["kept"]): None for row in rows}
    for variant, rewind, kept in sorted(alike, key=lambda place: (-place[2], place[1])):
        own = [r for r in rows if (r["variant"], r["rewind"], r["kept"]) == (variant, rewind, kept)]
        own = [r for r in own if r["status"] not in ("skipped", "diverged")]
        if not own:
            continue
        point = {"variant": variant, "rewind": rewind, "kept": kept, "num_seeds": len(own)}
        for split in ("val_top1", "test_top1"):
            values = [r[split] for r in own]
            point |= {split: median(values), f"{split}_low": min(values), f"{split}_high": max(values)}
        low, mean, high = interval([r["test_top1"] - r["dense_test_top1"] for r in own])
        found.append(point | {"gain_low": low, "gain": mean, "gain_high": high})
    return found


ROWS = [
    *three("dense", 1.0, 0, *DENSE),
    *three("ticket", 0.5, 0, 0.979, 0.980, 0.981),
    *three("ticket", 0.5, 100, 0.981, 0.982, 0.983),
    *three("ticket", 0.04, 0, 0.970, 0.971, 0.972),
    *three("ticket", 0.04, 100, 0.9805, 0.9805, 0.9835),
    *three("random", 0.5, 100, 0.978, 0.979, 0.980),
    *three("random", 0.04, 100, 0.970, 0.971, 0.972),
    *three("reinit", 0.04, 0, 0.975, 0.980, 0.976),
    *three("twin", 0.04, 100, 0.980, 0.981, 0.982, barrier=0.02),
]
WINNER = {
    "seed": 2, "kept": 0.04, "rewind": 100, "variant": "ticket", "chain": (), "matches": True, "test_top1": 0.9835,
    "path": "out/model.json",
}  # fmt: skip
RETIRED = {"members": 0, "updates_saved": 0, "updates": 18_000, "hours_saved": 0.0, "audited": 0, "accuracy_cost": None}
PLAN = {
    "workers": 2, "seconds": 60.0, "speedup": 1.75, "efficiency": 0.875, "measured_seconds": 64.0,
    "limits": [{"what": "start and trial", "seconds": 5.0}, {"what": "dense network", "seconds": 16.0}],
    "curve": [
        {"workers": 1, "seconds": 105.0, "speedup": 1.0, "efficiency": 1.0},
        {"workers": 2, "seconds": 60.0, "speedup": 1.75, "efficiency": 0.875},
        {"workers": 3, "seconds": 45.0, "speedup": 105 / 45, "efficiency": 35 / 45},
        {"workers": 1000, "seconds": 25.0, "speedup": 4.2, "efficiency": 0.0042},
    ],
}  # fmt: skip
ARRANGEMENT = {
    "whole": "fused", "sparse_below": 0.125, "workers": 2,
    "rates": [
        {"how": "plain", "together": 1, "kept": 1.0, "seconds": 0.004},
        {"how": "fused", "together": 2, "kept": 1.0, "seconds": 0.002},
    ],
}  # fmt: skip


def report(rows: list[dict] = ROWS, **changed) -> TicketReport:
    points = points_of(rows)
    values = {
        "title": "a search", "command": "prunelle sweep r --out o", "summary": ["One.", "Two."], "points": points,
        "rows": rows, "dense": next(one for one in points if one["variant"] == "dense"), "winner": WINNER,
        "retired": RETIRED, "plan": PLAN, "arrangement": ARRANGEMENT, "notes": ["A note."],
        "files": [{"path": "model.safetensors", "bytes": 1234, "what": "weights"}], "environment": {"cpu": "c"},
    }  # fmt: skip
    return TicketReport(**(values | changed))
