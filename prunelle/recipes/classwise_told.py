"""What a class-wise split has given, in figures, tables, words and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunelle.classwise.speed import Contest, race
from prunelle.classwise.split import Found, run_for
from prunelle.classwise.table import layer_rows
from prunelle.data.task import Task
from prunelle.engines.local import num_cores
from prunelle.errors import MeasurementError, WorkError
from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.measure.accuracy import evaluate
from prunelle.measure.card import count
from prunelle.measure.environment import environment
from prunelle.measure.intervals import interval
from prunelle.models.save import load, size_bytes
from prunelle.recipes.classwise import ClasswiseRecipe
from prunelle.recipes.classwising import Asked, Split, Watch
from prunelle.recipes.experiment import shipped_files
from prunelle.report.classwise import ClasswiseReport, write_classwise_page
from prunelle.report.rows import write_csv, write_json
from prunelle.ship.images import calibration

RESULT = "result.json"
COLUMNS = (
    *("member", "classes", "layer", "channels", "channels_dense", "params", "params_dense", "macs", "macs_dense"),
)
"""Of rows.csv and rows.json."""
MEMBER_COLUMNS = (
    *("member", "classes", "macs", "macs_share", "params", "params_share", "size_bytes", "epochs", "epochs_saved"),
    *("val_top1", "test_top1", "temperature", "latency_ms"),
)
TRIAL_COLUMNS = ("grouping", "seed", "groups", "val_top1", "top1", "macs", "params", "epochs", "epochs_saved")
SIMILARITY = {
    "features": "cosine of class features, their mean taken off",
    "candidates": "overlap of the channels that each class would give up",
}
HEADERS = ("member", "classes", "MACs", "share", "params", "epochs", "own against others, test")


def tell(split: Split, asked: Asked, watch: Watch) -> dict[str, Any]:
    """result.json: all figures of OUT, measured once and kept. Raises what measuring raises."""
    path = asked.out / RESULT
    if path.exists():
        return read_sealed_json(path)
    watch("measuring", 1.0)
    found = measured(split, asked)
    write_sealed_json(path, found)
    return found


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
        "size_bytes": size_bytes(split.shop.whole.folder),
    }
    names = [[task.class_names[number] for number in group] for group in best.trial.groups]
    members = member_rows(split, names, whole, asked.out)
    speed = timed(split, asked)
    return {
        "whole": whole,
        "combined": combined_row(best, members, asked.out),
        "members": members,
        "rows": layer_rows(list(split.joined.members), names, split.whole, shape),
        "confusion": best.mistakes.confusion.tolist(),
        "groups": [list(group) for group in best.trial.groups],
        "grouping": best.trial.grouping,
        "seed": best.trial.seed,
        "one": None if split.one is None else one_row(split),
        "speed": speed,
        "trials": trial_rows(split),
        "groupings": grouping_rows(split),
        "saved": saved(split.trials),
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
                "latency_ms": None,
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


def one_row(split: Split) -> dict[str, Any]:
    """The control: one network for all classes, cut to a member's size."""
    assert split.one is not None
    run = run_for(split.one.trial.jobs[0], split.shop)
    card = count("one", load(split.one.members[0].folder, trust=True), split.task.input_shape)
    return {
        "top1": split.one.top1,
        "top1_low": split.one.top1_low,
        "top1_high": split.one.top1_high,
        "macs": card.macs,
        "params": card.params,
        "epochs": split.one.members[0].epochs,
        "run": run.folder.name,
    }


def timed(split: Split, asked: Asked) -> list[dict[str, Any]]:
    """One image in every runtime asked for; one that a network cannot run in is left out, with a note."""
    if asked.device != "cpu":
        return []
    one = None if split.one is None else load(split.one.members[0].folder, trust=True)
    contest = Contest(split.whole, split.joined, one, calibration(split.task, 0), num_cores())
    rows: list[dict[str, Any]] = []
    for runtime in split.recipe.runtimes:
        try:
            rows += race(contest, runtime)
        except (MeasurementError, WorkError) as error:
            rows.append({"runtime": runtime, "what": f"not measured: {error}", "ms": None, "p95_ms": None}
                        | dict.fromkeys(("ratio", "ratio_low", "ratio_high")))  # fmt: skip
    return rows


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


def saved(trials: Sequence[Found]) -> dict[str, Any] | None:
    """What early stopping left out, over all members; None where nothing was trained."""
    members = {(one.trial.seed, member.group): member for one in trials for member in one.members}.values()
    epochs, left_out = sum(m.epochs for m in members), sum(m.epochs_saved for m in members)
    if not epochs:
        return None
    return {"epochs": epochs, "epochs_saved": left_out, "share": left_out / (epochs + left_out)}


def write_files(split: Split, found: dict[str, Any], asked: Asked) -> list[dict[str, Any]]:
    """Tables and the page in OUT. Returns files worth looking at as {path, bytes, what}. Raises DiskError."""
    out = asked.out
    members = [{**row, "classes": " ".join(row["classes"])} for row in found["members"]]
    for name, rows, columns in (
        ("rows", found["rows"], COLUMNS),
        ("members", members, MEMBER_COLUMNS),
        ("trials", found["trials"], TRIAL_COLUMNS),
    ):
        write_csv(rows, out / f"{name}.csv", columns)
        write_json(rows, out / f"{name}.json", columns)
    files = [
        told(out / "rows.csv", "a line a member and layer"),
        told(out / "members.csv", "a line a member"),
        *map(dict, shipped_files(out)),
    ]
    page = write_classwise_page(page_of(split, found, asked, files), out / "report.html")
    return [told(page, "report"), *files]


def told(path: Path, what: str) -> dict[str, Any]:
    return {"path": str(path), "bytes": path.stat().st_size, "what": what}


def page_of(split: Split, found: dict[str, Any], asked: Asked, files: list[dict[str, Any]]) -> ClasswiseReport:
    recipe = split.recipe
    several = bool(found["groupings"])
    return ClasswiseReport(
        title=recipe.name,
        command=asked.command,
        summary=[sentence(recipe)],
        class_names=split.task.class_names,
        groups=found["groups"],
        grouping=found["grouping"],
        similarity=split.similarities[recipe.similarity].tolist(),
        similarity_of=SIMILARITY[recipe.similarity],
        whole=found["whole"],
        combined=found["combined"],
        members=found["members"],
        rows=found["rows"],
        confusion=found["confusion"],
        speed=[row for row in found["speed"] if row["ms"] is not None],
        trials=found["trials"] if several else (),
        groupings=found["groupings"],
        saved=found["saved"],
        notes=notes(recipe, found),
        files=files,
        environment=environment(),
    )


def sentence(recipe: ClasswiseRecipe) -> str:
    """What was done."""
    num = recipe.groups if isinstance(recipe.groups, int) else len(recipe.groups)
    cut = (
        f"to {recipe.target_macs:g}x of the multiply-adds each"
        if recipe.target_macs is not None
        else f"where APoZ is above {recipe.apoz:g} and the mean below {recipe.mean:g}"
    )
    training = "not trained" if recipe.training is None else f"at most {recipe.training.epochs} epochs"
    return f"{recipe.model} on {recipe.data}: {num} members, cut {cut}, {training}."


def notes(recipe: ClasswiseRecipe, found: dict[str, Any]) -> list[str]:
    said = [
        "The grouping was chosen and temperatures were fitted on the validation split; the test split was read once."
    ]
    if recipe.choose_on == "test-half":
        said = ["Choices were made on the first half of the test split; figures are of its second half, read once."]
    if found["one"] is not None:
        one = found["one"]
        said.append(
            f"One network for all classes, cut to the same share of the multiply-adds and trained for as many epochs, "
            f"reaches {100 * one['top1']:.2f} % ({one['macs']:,} multiply-adds, {one['params']:,} parameters)."
        )
    said += [f"{row['runtime']}: {row['what']}" for row in found["speed"] if row["ms"] is None]
    return said


def table(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """A line a member, under HEADERS."""
    return [
        (
            str(row["member"]),
            " ".join(row["classes"]),
            f"{row['macs']:,}",
            f"{row['macs_share']:.3f}x",
            f"{row['params']:,}",
            f"{row['epochs']} of {row['epochs'] + row['epochs_saved']}",
            f"{100 * row['test_top1']:.2f} %",
        )
        for row in found["members"]
    ]


def summary(found: dict[str, Any]) -> list[str]:
    """What a reader wants to know first, a sentence each."""
    whole, both = found["whole"], found["combined"]
    said = [
        f"together {100 * both['top1']:.2f} % on {both['num_test']:,} test images, the whole network "
        f"{100 * whole['top1']:.2f} % ({100 * (both['top1'] - whole['top1']):+.2f} points); all members cost "
        f"{both['macs'] / whole['macs']:.2f}x its multiply-adds, the largest "
        f"{both['macs_largest'] / whole['macs']:.2f}x."
    ]
    if found["one"] is not None:
        one = found["one"]
        said.append(
            f"one network for all classes at {one['macs'] / whole['macs']:.2f}x: {100 * one['top1']:.2f} % "
            f"({100 * (one['top1'] - whole['top1']):+.2f} points)."
        )
    for row in found["speed"]:
        if row["what"].startswith(("members side", "cut as one")):
            said.append(f"{row['runtime']}: {row['what']} {row['ms']:.3f} ms, {row['ratio']:.2f}x the whole network.")
    if found["saved"] and found["saved"]["epochs_saved"]:
        said.append(
            f"early stopping left out {found['saved']['epochs_saved']} member-epochs, {found['saved']['share']:.0%}."
        )
    for row in found["groupings"]:
        if row["gain"] is not None:
            said.append(
                f"{row['grouping']}: {100 * row['gain']:+.2f} points against random "
                f"[{100 * row['gain_low']:+.2f}, {100 * row['gain_high']:+.2f}], {row['num_seeds']} seeds."
            )
    return said
