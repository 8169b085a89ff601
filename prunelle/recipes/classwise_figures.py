"""The figures of a class-wise split, each measured on what is saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunelle.classwise.speed import Contest, alone, race
from prunelle.classwise.split import Found
from prunelle.classwise.table import layer_rows
from prunelle.data.task import Task
from prunelle.engines.local import num_cores
from prunelle.errors import MeasurementError, WorkError
from prunelle.measure.accuracy import evaluate
from prunelle.measure.card import count
from prunelle.measure.intervals import interval
from prunelle.models.save import load, size_bytes
from prunelle.recipes.classwising import Asked, Split
from prunelle.ship.images import calibration, timed_images


def measured(split: Split, asked: Asked) -> dict[str, Any]:
    task, best, shape = split.task, split.best, split.task.input_shape
    own = evaluate(split.whole, task.test, task.loss, task.metric)
    low, high = own.interval
    card = count(split.recipe.model, split.whole, shape)
    whole = {
        "top1": own.top1,
        "top1_low": low,
        "top1_high": high,
        "num_test": len(own.scores),
        "macs": card.macs,
        "params": card.params,
        "size_bytes": size_bytes(split.shop.taught_by.folder),
    }
    names = [[task.class_names[number] for number in group] for group in best.trial.groups]
    members = member_rows(split, names, whole, asked.out)
    speed, latencies = timed(split, asked)
    for row, latency in zip(members, latencies, strict=True):
        row |= latency
    return {
        "whole": whole,
        "combined": combined_row(best, members, asked.out),
        "members": members,
        "rows": layer_rows(list(split.joined.members), names, split.whole, shape),
        "confusion": best.mistakes.confusion.tolist(),
        "groups": [list(group) for group in best.trial.groups],
        "grouping": best.trial.grouping,
        "seed": best.trial.seed,
        "one": None if split.one is None else one_row(split.one, split.task),
        "shared": None if split.shared is None else one_row(split.shared, split.task),
        "speed": speed,
        "trials": trial_rows(split),
        "groupings": grouping_rows(split),
        "saved": saved(split.trials, split.ends),
    }


def member_rows(split: Split, names: Sequence[Sequence[str]], whole: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    rows = []
    for number, (one, classes) in enumerate(zip(split.best.members, names, strict=True)):
        card = count("member", split.joined.members[number], split.task.input_shape)
        assert card.macs is not None
        rows.append(
            {
                "member": number,
                "classes": list(classes),
                "macs": card.macs,
                "macs_share": card.macs / whole["macs"],
                "params": card.params,
                "params_share": card.params / whole["params"],
                "size_bytes": size_bytes(out / "members" / str(number)),
                "epochs": one.epochs,
                "epochs_saved": one.epochs_saved,
                "val_top1": one.val_top1,
                "test_top1": one.test_top1,
                "temperature": one.temperature,
                "bias": one.bias,
            }
        )
    return rows


def combined_row(best: Found, members: Sequence[dict[str, Any]], out: Path) -> dict[str, Any]:
    return {
        "val_top1": best.val_top1,
        "top1": best.top1,
        "top1_low": best.top1_low,
        "top1_high": best.top1_high,
        "num_test": best.num_test,
        "macs": sum(row["macs"] for row in members),
        "macs_largest": max(row["macs"] for row in members),
        "params": sum(row["params"] for row in members),
        "size_bytes": size_bytes(out),
        "path": str(out),
        "num_wrong_within": best.mistakes.within,
        "num_wrong_group": best.mistakes.across,
    }


def one_row(found: Found, task: Task) -> dict[str, Any]:
    """A network for all classes: the control, cut to a member's size, or what members were cut from."""
    member = found.members[0]
    card = count("one", load(member.folder, trust=True), task.input_shape)
    return {
        "top1": found.top1,
        "top1_low": found.top1_low,
        "top1_high": found.top1_high,
        "macs": card.macs,
        "params": card.params,
        "epochs": member.epochs,
        "run": member.folder.parent.name,
    }


def timed(split: Split, asked: Asked) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One image in every runtime asked for; one that a network cannot run in is left out, with a note. And
    {latency_ms, latency_runtime} of each member by itself, in the first of them that runs; None elsewhere."""
    latencies: list[dict[str, Any]] = [{"latency_ms": None, "latency_runtime": None} for _ in split.joined.members]
    if asked.device != "cpu":
        return [], latencies
    one = None if split.one is None else load(split.one.members[0].folder, trust=True)
    images = calibration(split.task, 0), timed_images(split.task, split.task.input_shape, 1, 0)
    contest = Contest(split.whole, split.joined, one, *images, num_cores())
    rows: list[dict[str, Any]] = []
    for runtime in split.recipe.runtimes:
        try:
            rows += race(contest, runtime)
            if latencies[0]["latency_ms"] is None:
                latencies = [{"latency_ms": ms, "latency_runtime": runtime} for ms in alone(contest, runtime)]
        except (MeasurementError, WorkError) as error:
            rows.append({"runtime": runtime, "what": f"not measured: {error}", "ms": None, "p95_ms": None}
                        | dict.fromkeys(("ratio", "ratio_low", "ratio_high")))  # fmt: skip
    return rows, latencies


def trial_rows(split: Split) -> list[dict[str, Any]]:
    """A row a grouping and seed."""
    return [
        {
            "grouping": one.trial.grouping,
            "seed": one.trial.seed,
            "groups": [list(group) for group in one.trial.groups],
            "val_top1": one.val_top1,
            "top1": one.top1,
            **sizes(one, split.task),
            "epochs": sum(member.epochs for member in one.members),
            "epochs_saved": sum(member.epochs_saved for member in one.members),
        }
        for one in split.trials
    ]


def sizes(found: Found, task: Task) -> dict[str, int]:
    """{macs, params} of all members together, as they are saved."""
    cards = [count("member", load(one.folder, trust=True), task.input_shape) for one in found.members]
    return {"macs": sum(card.macs or 0 for card in cards), "params": sum(card.params for card in cards)}


def grouping_rows(split: Split) -> list[dict[str, Any]]:
    """Each grouping over its seeds, and against random by the same seed; only where there is something to compare."""
    if len(split.recipe.groupings) < 2:
        return []
    table = {(row["grouping"], row["seed"]): row for row in trial_rows(split)}
    rows = []
    for word in split.recipe.groupings:
        own = [table[word, seed] for seed in split.recipe.seeds]
        low, middle, high = interval([row["top1"] for row in own])
        row: dict[str, Any] = {"grouping": word, "num_seeds": len(own), "mean": middle, "low": low, "high": high}
        row |= dict.fromkeys(("gain", "gain_low", "gain_high"))
        if word != "random" and "random" in split.recipe.groupings:
            gains = [one["top1"] - table["random", one["seed"]]["top1"] for one in own]
            row["gain_low"], row["gain"], row["gain_high"] = interval(gains)
        row["macs_total"] = sum(one["macs"] for one in own) / len(own)
        row["params_total"] = sum(one["params"] for one in own) / len(own)
        rows.append(row)
    return rows


def saved(trials: Sequence[Found], ends: Sequence[Found] = ()) -> dict[str, Any] | None:
    """What early stopping left out, over all members; None where nothing was trained.

    ends: the same trials with members trained to the end. Returns {epochs, epochs_saved, share}, and with `ends`
    {cost, cost_low, cost_high}: by how much they answer better on test, the mean over trials and its 95 % interval,
    whose ends are None for a single trial. It compares early stopping, which takes the weights best on val, with none.
    """
    members = {(one.trial.seed, member.group): member for one in trials for member in one.members}.values()
    epochs, left_out = sum(m.epochs for m in members), sum(m.epochs_saved for m in members)
    if not epochs:
        return None
    told = {"epochs": epochs, "epochs_saved": left_out, "share": left_out / (epochs + left_out)}
    if not ends:
        return told
    costs = [end.top1 - left.top1 for end, left in zip(ends, trials, strict=True)]
    low, cost, high = interval(costs)
    single = len(costs) == 1
    return told | {"cost": cost, "cost_low": None if single else low, "cost_high": None if single else high}
