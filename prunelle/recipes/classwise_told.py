"""What a class-wise split has given, in figures, tables, words and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelle.files import read_sealed_json, write_sealed_json
from prunelle.measure.environment import environment
from prunelle.recipes.classwise import ClasswiseRecipe
from prunelle.recipes.classwise_figures import measured
from prunelle.recipes.classwising import Asked, Split, Watch
from prunelle.recipes.experiment import shipped_files
from prunelle.report.classwise import ClasswiseReport, write_classwise_page
from prunelle.report.rows import write_csv, write_json

RESULT = "result.json"
COLUMNS = (
    *("member", "classes", "layer", "channels", "channels_dense", "params", "params_dense", "macs", "macs_dense"),
)
"""Of rows.csv and rows.json."""
MEMBER_COLUMNS = (
    *("member", "classes", "macs", "macs_share", "params", "params_share", "size_bytes", "epochs", "epochs_saved"),
    *("val_top1", "test_top1", "temperature", "bias", "latency_ms", "latency_runtime"),
)
TRIAL_COLUMNS = ("grouping", "seed", "groups", "val_top1", "top1", "macs", "params", "epochs", "epochs_saved")
SIMILARITY = {
    "features": "cosine of class features, their mean taken off",
    "candidates": "overlap of the channels that each class would give up",
}
HEADERS = ("member", "classes", "MACs", "share", "params", "ms alone", "epochs", "own against others, test")


def tell(split: Split, asked: Asked, watch: Watch) -> dict[str, Any]:
    """result.json: all figures of OUT, measured once and kept. Raises what measuring raises."""
    path = asked.out / RESULT
    if path.exists():
        return read_sealed_json(path)
    watch("measuring", 1.0)
    found = measured(split, asked)
    write_sealed_json(path, found)
    return found


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
    cut = aim(recipe)
    training = "not trained" if recipe.training is None else f"at most {recipe.training.epochs} epochs"
    return f"{recipe.model} on {recipe.data}: {num} members, cut {cut}, {training}."


def aim(recipe: ClasswiseRecipe) -> str:
    """How far members are cut."""
    if recipe.target_macs is not None:
        return f"to {recipe.target_macs:g}x of the multiply-adds each"
    if recipe.target_latency is not None:
        return f"to {recipe.target_latency:g}x of its time before, in {recipe.runtimes[0]}, each"
    if recipe.target_ms is not None:
        return f"to {recipe.target_ms:g} ms an image in {recipe.runtimes[0]} each"
    return f"where APoZ is above {recipe.apoz:g} and the mean below {recipe.mean:g}"


def notes(recipe: ClasswiseRecipe, found: dict[str, Any]) -> list[str]:
    said = [
        "The grouping was chosen and members were calibrated on the validation split; the test split was read once."
    ]
    if recipe.choose_on == "test-half":
        said = ["Choices were made on the first half of the test split; figures are of its second half, read once."]
    if found["shared"] is not None:
        said.append(first_cut(found))
    if found["one"] is not None:
        one = found["one"]
        said.append(
            f"One network for all classes, cut {aim(recipe)} and trained for as many epochs, "
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
            "not timed" if row["latency_ms"] is None else f"{row['latency_ms']:.3f}",
            f"{row['epochs']} of {row['epochs'] + row['epochs_saved']}",
            f"{100 * row['test_top1']:.2f} %",
        )
        for row in found["members"]
    ]


def first_cut(found: dict[str, Any]) -> str:
    """What members were cut from, where that was not the whole network."""
    shared = found["shared"]
    return (
        f"Members were cut from one network for all classes at {shared['macs'] / found['whole']['macs']:.2f}x, trained "
        f"first for {shared['epochs']} epochs; alone it reaches {100 * shared['top1']:.2f} %."
    )


def early(saved: dict[str, Any]) -> str:
    """What early stopping left out, and where it was audited at what cost."""
    left_out = f"{saved['epochs_saved']} member-epochs, {saved['share']:.0%}"
    if "cost" not in saved:
        return f"early stopping left out {left_out}."
    spread = "" if saved["cost_low"] is None else f" [{100 * saved['cost_low']:+.2f}, {100 * saved['cost_high']:+.2f}]"
    return (
        f"early stopping would have left out {left_out}; trained to the end all the same, members answer "
        f"{100 * saved['cost']:+.2f} points better together{spread}."
    )


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
    if found["shared"] is not None:
        said.append(first_cut(found))
    for row in found["speed"]:
        if row["what"].startswith(("members side", "cut as one")):
            said.append(f"{row['runtime']}: {row['what']} {row['ms']:.3f} ms, {row['ratio']:.2f}x the whole network.")
    if found["saved"] and (found["saved"]["epochs_saved"] or "cost" in found["saved"]):
        said.append(early(found["saved"]))
    for row in found["groupings"]:
        if row["gain"] is not None:
            said.append(
                f"{row['grouping']}: {100 * row['gain']:+.2f} points against random "
                f"[{100 * row['gain_low']:+.2f}, {100 * row['gain_high']:+.2f}], {row['num_seeds']} seeds."
            )
    return said
