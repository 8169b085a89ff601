"""What must hold of a search's folder: after every kill, and when it is done."""

import csv
import json
from io import StringIO
from pathlib import Path

from prunelle.errors import PrunelleError
from prunelle.files import read_sealed_json
from prunelle.tickets.results import CLOCKED

from .begun import begun
from .checks import unreadable

Stood = dict[str, tuple[int, int]]
"""By path below OUT: inode and time of change of a file that is never to be touched again."""


def standing(out: Path) -> Stood:
    """The files of every run that is done."""
    found = {}
    for card in out.glob("runs/*/card.json"):
        folder = card.parent
        for path in (card, folder / "metrics.jsonl", *(folder / "model").glob("model.*")):
            seen = path.stat()
            found[str(path.relative_to(out))] = (seen.st_ino, seen.st_mtime_ns)
    return found


def num_done(out: Path) -> int:
    return len(list(out.glob("runs/*/card.json")))


def after_a_kill(out: Path, before: Stood) -> list[str]:
    """Problems: a finished run's file is gone or was written again, a finished run was begun again, a file with a final
    name cannot be read."""
    now = standing(out)
    found = [f"{path}: is gone" for path in before if path not in now]
    found += [f"{path}: was written again" for path in before if path in now and now[path] != before[path]]
    found += [f"{one.run}: was begun though its card stood" for one in begun(out) if one.stood]
    for path in (out / "sweep.json", out / "arrangement.json", out / "plan.json"):
        try:
            read_sealed_json(path) if path.exists() else None
        except PrunelleError as error:
            found.append(str(error))
    if (out / "points.json").exists():
        json.loads((out / "points.json").read_text())
    return found + unreadable(out)


def columns(out: Path) -> bytes:
    """rows.csv without the columns that another start need not repeat."""
    text = StringIO()
    rows = list(csv.DictReader(StringIO((out / "rows.csv").read_text())))
    writer = csv.DictWriter(text, [name for name in rows[0] if name not in CLOCKED], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def outcome(out: Path) -> dict[str, object]:
    """All of a finished search that may not depend on how often it was interrupted, part by part."""
    parts: dict[str, object] = {"rows.csv": columns(out), "points.json": (out / "points.json").read_bytes()}
    for path in out.glob("runs/*/card.json"):
        parts[f"{path.parent.name}/found"] = read_sealed_json(path)["found"]
    for path in (*out.glob("runs/*/metrics.jsonl"), *out.glob("runs/*/model/*"), *out.glob("model.*")):
        parts[str(path.relative_to(out))] = path.read_bytes()
    return parts


def when_done(out: Path, reference: dict[str, object]) -> list[str]:
    """Problems of a finished search: it differs from the undisturbed one, or left something behind."""
    found = differences(outcome(out), reference)
    for pattern in ("*.tmp", "*.next", "train.checkpoint", ".trial-*"):
        found += [f"{path.relative_to(out)}: was left" for path in out.rglob(pattern)]
    return found


def differences(parts: dict[str, object], reference: dict[str, object]) -> list[str]:
    """Parts of two outcomes that are not the same."""
    names = sorted(reference.keys() | parts)
    return [f"{name}: differs" for name in names if reference.get(name) != parts.get(name)]
