"""What an experiment found, as a report: headline, rows, curves, layers, flips, commands, files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from prunelle.measure.environment import environment
from prunelle.measure.intervals import interval
from prunelle.recipes.cards import class_flips, curve, layer_rows
from prunelle.recipes.execute import open_run, told_by
from prunelle.recipes.experiment import Finished, shipped_files
from prunelle.recipes.plan import Place, PlannedRun
from prunelle.recipes.settings import LatencyStage, Recipe
from prunelle.report.page import write_page
from prunelle.report.rows import Report, write_csv, write_json

WORTH_A_WARNING = 0.02
"""Share of top-1 that a pruned network must have lost before a cause is named."""
FEW_UPDATES = 500


def report(recipe: Recipe, finished: Finished, place: Place) -> Report:
    """Everything the page shows."""
    shown = representatives(finished)
    return Report(
        title=f"{recipe.name}: dense and pruned networks",
        summary=" ".join([*summaries(finished), *targets(finished, place), *warnings(finished, place)]),
        rows=finished.rows,
        curves=[curve(one, open_run(one, place)) for one in finished.runs],
        layers=[layer for one in shown for layer in layer_rows(one, place)],
        flips=class_flips(finished.chosen, place) if finished.chosen.dense else None,
        commands=[*filter(None, [place.command]), measure_command(place, finished.chosen.cell.data)],
        environment=environment(),
        files=shipped_files(place.out),
        notes=notes(finished),
    )


def measure_command(place: Place, data: str) -> str:
    """The line that measures the shipped network again, as one would type it."""
    words = ["prunelle", "measure", str(place.out), "--data", data]
    words += ["--data-dir", place.data_dir] if place.data_dir is not None else []
    words += ["--device", place.device] if place.device != "cpu" else []
    words += ["--trust"] if place.trust else []
    return shlex.join(words)


def representatives(finished: Finished) -> list[PlannedRun]:
    """One pruned run a label, the one with the median val accuracy."""
    found = []
    for label in dict.fromkeys(one.cell.label for one in finished.runs if one.dense):
        pairs = [
            (r["val_top1"], number, one)
            for number, (one, r) in enumerate(zip(finished.runs, finished.rows, strict=True))
            if one.dense and one.cell.label == label
        ]
        found.append(sorted(pairs, key=lambda p: p[:2])[(len(pairs) - 1) // 2][2])
    return found


def summaries(finished: Finished) -> list[str]:
    """One sentence a label: change of accuracy, size and speed against the dense network, paired by seed."""
    rows = {r["id"]: r for r in finished.rows}
    sentences = []
    for label in dict.fromkeys(r["run"] for r in finished.rows if r["dense_id"]):
        pairs = [(rows[r["dense_id"]], r) for r in finished.rows if r["run"] == label and r["dense_id"]]
        low, middle, high = interval([100 * (after["top1"] - before["top1"]) for before, after in pairs])
        size = mean(after["size_bytes"] / before["size_bytes"] for before, after in pairs)
        speed = mean(after["latency_ratio"] for _, after in pairs)
        weights = mean(before["nnz"] / after["nnz"] for before, after in pairs)
        over = "one seed"
        if len(pairs) > 1:
            over = f"mean over {len(pairs)} seeds, each against its own, 95 % interval {low:+.2f} to {high:+.2f}"
        sentences.append(
            f"{label}: {weights:.1f} times fewer weights change top-1 by {middle:+.2f} points ({over}), in a folder "
            f"{size:.2f} times as large, at {speed:.2f} times the speed."
        )
    return sentences


def targets(finished: Finished, place: Place) -> list[str]:
    """One sentence for each run that was cut down to a time: what was measured when it was."""
    found = []
    for one in finished.runs:
        stages = {f"{number}-{stage.kind}": stage for number, stage in enumerate(one.cell.stages)}
        for name, told in told_by(open_run(one, place)).items() if one.dense else ():
            stage = stages.get(name)
            if isinstance(stage, LatencyStage) and told.get("looks"):
                found.append(f"{one.cell.label}, seed {one.seed}: {target_sentence(stage, told['looks'][-1])}")
    return found


def target_sentence(stage: LatencyStage, look: Mapping[str, Any]) -> str:
    """What a run was cut down to."""
    return (
        f"{stage.batch} images take {look['median_ms']:.4g} ms in {stage.runtime}, {look['ratio']:.3f} "
        f"({look['ratio_low']:.3f} to {look['ratio_high']:.3f}) of the dense network's time, with "
        f"{100 * look['macs']:.0f} % of the multiply-adds."
    )


def warnings(finished: Finished, place: Place) -> list[str]:
    """What most likely went wrong where accuracy fell: random weights, or too few updates."""
    rows = {r["id"]: r for r in finished.rows}
    found: dict[str, None] = {}
    for one, after in zip(finished.runs, finished.rows, strict=True):
        cell, before = one.cell, rows.get(after["dense_id"])
        if before is None or before["top1"] - after["top1"] <= WORTH_A_WARNING:
            continue
        if cell.dense is None and cell.weights is None and not Path(cell.model).is_dir():
            found[f"{cell.label}: {cell.model} was pruned with random weights; train it first, or pass --weights."] = (
                None
            )
        updates = max((r["step"] for r in open_run(one, place).rows()), default=0)
        if 0 < updates < FEW_UPDATES:
            found[f"{cell.label}: top-1 fell after only {updates} updates; raise --epochs or --set lr=."] = None
    return list(found)


def notes(finished: Finished) -> list[str]:
    """What a reader must know to trust the table."""
    found = [
        "Accuracy is on the test split, read once; the shipped network was chosen on the validation split.",
        "Latency is one image in eager PyTorch, dense and pruned interleaved; zeros alone do not make it faster.",
    ]
    uncounted = sorted({op for one in finished.cards for op in one["uncounted"]})
    if uncounted:
        found.append(f"These operators have no counting rule and are missing from the MACs: {', '.join(uncounted)}.")
    broken = [r["id"] for r in finished.rows if r["diverged"]]
    if broken:
        found.append(f"Diverged, with the last good weights kept: {', '.join(broken)}.")
    return found


def write_report(found: Report, out: Path) -> list[dict]:
    """rows.csv, rows.json and report.html in `out`. Returns all files worth looking at as {path, bytes, what}.

    Raises MissingExtraError without the report extra, DiskError; the rows are written all the same.
    """
    write_csv(found.rows, out / "rows.csv")
    write_json(found.rows, out / "rows.json")
    page = write_page(found, out / "report.html")
    return [{"path": str(page), "bytes": page.stat().st_size, "what": "report"}, *map(dict, found.files)]
