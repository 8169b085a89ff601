"""What is told of a network that was shipped: plain values, a sentence, a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelle.report.speed import Speeds
from prunelle.ship.auto import Decision
from prunelle.ship.names import FOREIGN
from prunelle.ship.shipped import MANIFEST, Shipped


def told(found: Shipped, out: Path) -> dict[str, Any]:
    """What the command prints."""
    files = [{"path": str(out / name), "bytes": file.size_bytes} for name, file in found.files.items()]
    beside = [path for path in (out / MANIFEST, out / "report.html") if path.is_file()]
    files += [{"path": str(path), "bytes": path.stat().st_size} for path in beside]
    values = found.model_dump(mode="json", exclude={"files", "asked"})
    return {"out": str(out), "summary": summary(found), "size_bytes": found.size_bytes, "files": files, **values}


def summary(found: Shipped) -> str:
    """What was shipped, in a sentence or two."""
    dense = found.sizes_bytes.get("dense_safetensors") or 0
    said = f"{found.model} ships as {found.format} {found.precision}, {found.size_bytes:,} bytes"
    said += f" (dense safetensors {dense:,})"
    row = next((row for row in found.table if row.winner), None)
    if row and row.median_ms is not None:
        said += (
            f": {row.median_ms:.4g} ms a call, {row.ratio:.2f} times as fast as eager PyTorch "
            f"({row.ratio_low:.2f} to {row.ratio_high:.2f})"
        )
    if tied := [row.name for row in found.table if row.tied]:
        said += f"; {' and '.join(tied)} could not be told from it"
    return f"{said}. {judged(found)}"


def judged(found: Shipped) -> str:
    """How close it is to the model, and on which images."""
    parity = found.parity
    if parity is None:
        return "It was not run."
    here = f" It was judged by its build for this machine, not for {found.target}." if found.target in FOREIGN else ""
    if parity.top1_after is None or parity.top1_before is None:
        return f"{parity.where[0].upper()}{parity.where[1:]}: off by {parity.error:.1e} of max|logit|.{here}"
    return (
        f"On the {parity.where}: {100 * parity.equal:.2f} % of {parity.num_images:,} predictions equal, "
        f"top-1 {100 * parity.top1_before:.2f} -> {100 * parity.top1_after:.2f} %.{here}"
    )


def page(found: Shipped, command: str, decision: Decision | None) -> Speeds:
    """The report page."""
    notes = ["Times are of batches of the validation split, or of noise without data, all taken in turns in one run."]
    if decision and decision.looks > 1:
        notes.append(f"The fastest were timed again, {decision.looks} looks in all, until decided or tied.")
    return Speeds(
        f"{Path(found.model).name} as {found.format} {found.precision}",
        summary(found),
        [row.model_dump() for row in found.table],
        {name.replace("_", " "): size for name, size in found.sizes_bytes.items()} | {"shipped": found.size_bytes},
        [layer.model_dump() for layer in found.layers],
        notes,
        command,
        found.environment,
    )
