"""What must hold of an experiment's folder: after every kill, and when the job is done."""

import csv
import json
from pathlib import Path

from prunelle.errors import PrunelleError
from prunelle.files import read_sealed_json
from prunelle.models.save import MANIFEST, WEIGHTS, read_folder
from prunelle.runs import Run

COLUMNS = ("id", "run", "variant", "seed", "params", "nnz", "macs", "macs_nonzero", "top1", "loss", "val_top1")


def cards(out: Path) -> dict[str, bytes]:
    """card.json of every run that is done."""
    return {path.parent.name: path.read_bytes() for path in out.glob("runs/*/card.json")}


def after_a_kill(out: Path, finished: dict[str, bytes]) -> list[str]:
    """Problems: a card that stood before is gone or another, a file with a final name cannot be read."""
    now = cards(out)
    lost = [f"{run}: its card is gone or changed" for run, card in finished.items() if now.get(run) != card]
    return lost + unreadable(out)


def unreadable(out: Path) -> list[str]:
    """Files with a final name that their own reader refuses."""
    found = []
    folders = [path for path in (out, *out.glob("runs/*/model")) if has_model(path)]
    sealed = [out / "recipe.json", *out.glob("runs/*/*.json")]
    checkpoints = list(out.glob("runs/*/*.checkpoint"))
    plain = [out / "rows.json", out / "cards.json"]
    readers = [
        *((read_folder, path) for path in folders),
        *((read_sealed_json, path) for path in sealed if path.exists()),
        *((read_checkpoint, path) for path in checkpoints),
        *((lambda p: Run(p.parent, 0).rows(), path) for path in out.glob("runs/*/metrics.jsonl")),
        *((lambda p: json.loads(p.read_text()), path) for path in plain if path.exists()),
    ]
    for read, path in readers:
        try:
            read(path)
        except (PrunelleError, ValueError) as error:
            found.append(f"{path}: {error}")
    page = out / "report.html"
    if page.exists() and not page.read_text().rstrip().endswith("</html>"):
        found.append(f"{page}: is cut off")
    return found


def has_model(folder: Path) -> bool:
    """Whether a file there says that a model stands in it."""
    return any((folder / name).exists() for name in (WEIGHTS, MANIFEST))


def read_checkpoint(path: Path) -> None:
    Run(path.parent, 0).load_checkpoint(path.stem)


def outcome(out: Path) -> dict[str, object]:
    """All of a finished job that may not depend on how often it was interrupted: as text and bytes, part by part."""
    with (out / "rows.csv").open(newline="") as file:
        rows = [[row[name] for name in COLUMNS] for row in csv.DictReader(file)]
    parts: dict[str, object] = {"rows.csv": rows}
    for path in sorted(out.glob("runs/*/metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        parts[f"{path.parent.name}/metrics.jsonl"] = [
            {k: v for k, v in line.items() if k != "shares"} for line in lines
        ]
    for path in [*sorted(out.glob("runs/*/model/*")), out / WEIGHTS, out / MANIFEST]:
        parts[str(path.relative_to(out))] = path.read_bytes()
    return parts


def when_done(out: Path, reference: dict[str, object]) -> list[str]:
    """Problems of a finished job: it differs from the undisturbed one, has a row twice, or left something behind."""
    parts = outcome(out)
    found = [f"{name}: differs" for name in sorted(reference.keys() | parts) if reference.get(name) != parts.get(name)]
    for name, lines in parts.items():
        if isinstance(lines, list) and len({json.dumps(line) for line in lines}) != len(lines):
            found.append(f"{name}: has a row twice")
    for pattern in ("*.tmp", "*.next", "*.checkpoint"):
        found += [f"{path.relative_to(out)}: was left" for path in out.rglob(pattern)]
    return found + unreadable(out)
