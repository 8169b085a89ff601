"""Making, judging and timing what `prunelle ship` asks for; OUT appears whole, at the end, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunelle.errors import RunConflictError, WorkError
from prunelle.files import make_folder
from prunelle.measure.environment import environment
from prunelle.measure.latency import Timing
from prunelle.models.open import open_model
from prunelle.models.packed.magic import is_packed
from prunelle.models.save import is_saved, save, size_bytes
from prunelle.recipes.check import is_folder
from prunelle.recipes.layers import layer_rows
from prunelle.recipes.ship_told import page, told
from prunelle.recipes.shipping import Asked, Subject, hash_of_state, subject
from prunelle.recipes.staged import put, staged
from prunelle.report.speed import write_speeds
from prunelle.ship.auto import Decision, fastest
from prunelle.ship.candidates import Candidate, make, make_all
from prunelle.ship.eager import eager
from prunelle.ship.formats import load_format
from prunelle.ship.images import over
from prunelle.ship.names import AUTO, FOREIGN, PRECISIONS
from prunelle.ship.shipped import (
    Counts,
    Held,
    Row,
    Shipped,
    check_files,
    is_shipped,
    list_files,
    read_shipped,
    running_bytes,
    write_shipped,
)
from prunelle.ship.sizes import sizes_of

EAGER = "eager"
MOST_PACKED = 1_000_000
"""Nonzero weights; packing them takes some ten seconds."""


def ship_model(
    asked: Asked,
    out: Path,
    *,
    data_dir: str | None = None,
    trust: bool = False,
    command: str = "",
    timing: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Ship a MODEL in one format, or in the fastest with 'auto'. A second start of the same finds it done.

    timing: min_seconds and min_samples of the timer.
    Returns plain values: what ship.json holds, files with their bytes, and a summary in words.
    Raises what opening the model or its data raises, MissingExtraError, LimitError where the gate is not passed,
    WorkError where nothing passes it, RunConflictError, DiskError. `out` is left as it was then.
    """
    if is_shipped(out):
        return told(finished(out, asked, trust), out)
    what = subject(asked, data_dir, trust)
    with staged(out) as staging:
        sizes = sizes_before(asked.model, what, staging)
        dense = sizes["dense_safetensors"]
        assert dense is not None
        candidates = made(asked, what, staging, dense)
        fit = [one for one in candidates if one.status == "fit"]
        if not fit:
            reasons = "; ".join(one.why.rstrip(".") for one in candidates)
            raise WorkError(f"{asked.model}: no format passed the gate ({reasons}); nothing was shipped.")
        decision = race(asked, what, fit, timing or {})
        chosen = next((one for one in fit if decision is None or one.name == decision.winner), fit[0])
        found = describe(asked, what, chosen, candidates, decision, sizes)
        if asked.layers and chosen.format == "native":
            found = found.model_copy(update={"layers": layer_rows(what, chosen.folder, staging, asked.target)})
        write_shipped(found, chosen.folder)
        write_speeds(page(found, command, decision), chosen.folder / "report.html")
        put(chosen.folder, out)
    return told(found, out)


def made(asked: Asked, what: Subject, staging: Path, dense: int) -> list[Candidate]:
    """The one candidate that was asked for, or with 'auto' all there are."""
    if asked.format == AUTO:
        return list(make_all(what.order, staging, what.exam, asked.threads, dense, asked.precision))
    order = replace(what.order, precision=asked.precision or PRECISIONS[asked.format][0])
    if asked.target not in FOREIGN:
        return [make(asked.format, order, staging / "made", what.exam, asked.threads, dense)]
    here = make(asked.format, replace(order, target="native"), staging / "here", what.exam, asked.threads, dense)
    make_folder(staging / "made")
    load_format(asked.format).write(order, staging / "made")
    size = running_bytes(list_files(staging / "made", asked.format))
    return [replace(here, folder=staging / "made", run=None, size_bytes=size)]


def race(asked: Asked, what: Subject, fit: list[Candidate], timing: Mapping[str, Any]) -> Decision | None:
    """All that are fit and eager PyTorch, in turns; None for what does not run here."""
    runs = {one.name: one.run for one in fit if one.run is not None}
    if not runs:
        return None
    calls = {EAGER: eager(what.order.model, what.images[0], asked.threads), **runs}
    return fastest(
        {name: over(run, what.images) for name, run in calls.items()}, EAGER, threads=asked.threads, **timing
    )


def sizes_before(model: str, what: Subject, staging: Path) -> dict[str, int | None]:
    """Bytes of the dense weights as safetensors, of the saved folder, and packed, where that takes seconds."""
    if is_folder(model) and is_saved(model):
        saved = size_bytes(model)
    else:
        opened = what.opened
        save(opened.model, staging / "saved", builder=opened.builder, cuts=opened.cuts)
        saved = size_bytes(staging / "saved")
    found = sizes_of(what.order, staging, ("packed",) if what.counts["nnz"] <= MOST_PACKED else ())
    return {"dense_safetensors": found["dense_safetensors"], "saved_folder": saved, "packed": found.get("packed")}


def describe(
    asked: Asked,
    what: Subject,
    chosen: Candidate,
    candidates: list[Candidate],
    decision: Decision | None,
    sizes: Mapping[str, int | None],
) -> Shipped:
    """ship.json of the chosen one, without layers."""
    built = {one.format: one.size_bytes for one in candidates if one.status == "fit" and one.precision == "fp32"}
    if chosen.format == "native":
        built["native"] = chosen.size_bytes
    preprocessing, small = what.order.preprocessing, chosen.format == "packed"
    return Shipped(
        format=chosen.format,
        precision=chosen.precision,
        runtime=load_format(chosen.format).runtime,
        target=asked.target,
        model=asked.model,
        source_sha256=what.source_sha256,
        input_shape=list(what.shape),
        num_classes=what.num_classes,
        preprocessing=preprocessing.to_json() if preprocessing else None,
        class_names=list(what.class_names),
        data=what.data,
        files=list_files(chosen.folder, chosen.format),
        sizes_bytes={**sizes, "native": built.get("native"), **({"packed": chosen.size_bytes} if small else {})},
        parity=Held(**chosen.parity.to_json()) if chosen.parity else None,
        counts=Counts(**what.counts),
        asked=asked.to_json(),
        table=rows_of(asked, candidates, decision),
        environment=environment(),
    )


def rows_of(asked: Asked, candidates: list[Candidate], decision: Decision | None) -> list[Row]:
    """Eager first, then every candidate in the order of their times, those without one last."""
    rows: list[dict[str, Any]] = [{"name": one.name, **one.row()} for one in candidates]
    if decision:
        rows.append({"name": EAGER, "runtime": EAGER, "status": "baseline", "why": ""})
    for row in rows:
        row |= timed(decision.timings.get(row["name"]) if decision else None, asked)
        row["winner"] = decision is not None and row["name"] == decision.winner
        row["tied"] = decision is not None and row["name"] in decision.tied
    order = sorted(rows, key=lambda row: (row["name"] != EAGER, row["median_ms"] is None, row["median_ms"] or 0.0))
    return [Row(**row) for row in order]


def timed(timing: Timing | None, asked: Asked) -> dict[str, Any]:
    """A timing as columns of a row; None where there is none. ratio: eager's time over this one's."""
    keys = ("median_ms", "p95_ms", "p99_ms", "ratio", "ratio_low", "ratio_high", "num_samples")
    found = {key: None if timing is None else getattr(timing, key) for key in keys}
    return found | {"batch": asked.batch, "threads": asked.threads}


def finished(out: Path, asked: Asked, trust: bool) -> Shipped:
    """What stands in `out` when it is just what is asked for, of the same weights, and whole; no data is read.

    Raises RunConflictError, CorruptFileError, what opening the model raises.
    """
    found = read_shipped(out)
    other = RunConflictError(f"{out}: holds a network of other settings; choose another folder with --out.")
    if found.asked != asked.to_json():
        raise other
    built = found.data is not None and not is_folder(asked.model) and not is_packed(asked.model)
    opened = open_model(
        asked.model,
        weights=asked.weights,
        input_shape=found.shape if built else asked.input_shape,
        num_classes=found.num_classes if built else None,
        trust=trust,
        seed=asked.seed,
    )
    if found.source_sha256 != hash_of_state(opened):
        raise other
    check_files(out, found)
    return found
