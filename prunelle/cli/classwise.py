"""prunelle classwise, and the same of a recipe that prunelle run is given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from prunelle.cli import options as o
from prunelle.cli.search_words import workers_for
from prunelle.cli.show import command_line, print_json, print_pairs, print_table, progress
from prunelle.errors import SettingError
from prunelle.recipes.check import check_device_word, check_model_word, check_out, shape_of
from prunelle.recipes.classwise import RETRAINING, ClasswiseRecipe, retraining
from prunelle.recipes.complaint import meant, sentence

GROUPINGS = ("kmeans", "similar", "dissimilar", "random", "consecutive")
SCORES = ("taylor", "activity", "l2", "l1", "fpgm", "bn_scale", "apoz", "activation", "random")
RUNTIMES = ("eager", "compile", "onnxruntime", "openvino", "native", "native16")
GroupsWord = Annotated[
    str, typer.Option("--groups", help="How many; or the classes of each by number, such as 0,1,2/3,4.")
]
GroupingOption = Annotated[str, typer.Option("--grouping", help=f"One of {', '.join(GROUPINGS)}.")]
Similarity = Annotated[
    str, typer.Option("--similarity", help="What makes classes alike: features, or candidates for pruning.")
]
TargetMacs = Annotated[
    float | None,
    typer.Option("--target-macs", help="Multiply-adds of a member, as a share of the whole network's; else 0.5."),
]
TargetLatency = Annotated[
    float | None,
    typer.Option("--target-latency", help="Or its time for one image in the first runtime, as a share of that uncut."),
]
TargetMs = Annotated[
    float | None, typer.Option("--target-ms", help="Or its milliseconds for one image in the first runtime.")
]
SharedMacs = Annotated[
    float | None,
    typer.Option(
        "--shared-macs",
        help="First cut and train one network for all classes to this share, then cut members from it: for small ones.",
    ),
]
SharedEpochs = Annotated[
    int | None, typer.Option("--shared-epochs", min=1, help="Of that network's training; else --epochs.")
]
Epochs = Annotated[int, typer.Option("--epochs", min=0, help="Of a member's training, at most; 0 only cuts.")]
Patience = Annotated[
    int, typer.Option("--patience", min=0, help="Epochs without a gain on val after which a member leaves; 0: never.")
]
Audit = Annotated[
    bool,
    typer.Option("--audit", help="Members that would leave go on all the same, so that what it costs is measured."),
]
Lr = Annotated[float | None, typer.Option("--lr", help="Of SGD; else 0.02, or Adam at 0.001 without batch norm.")]
Multiple = Annotated[int, typer.Option("--multiple", min=1, help="Kept widths are rounded up to a multiple.")]
Score = Annotated[str, typer.Option("--score", help=f"Of channels: {', '.join(SCORES)}.")]
PrecisionWord = Annotated[str, typer.Option("--precision", help="Of the training: fp32 or bf16.")]
RuntimeWord = Annotated[
    list[str] | None,
    typer.Option("--runtime", help=f"One image is timed in it; may be repeated: {', '.join(RUNTIMES)}."),
]
AsOne = Annotated[
    bool, typer.Option("--as-one", help="Also cut and train one network for all classes to the same size, as control.")
]
ChooseOn = Annotated[
    str, typer.Option("--choose-on", help="val; or test-half where the network was trained on val too.")
]


def classwise(
    model: o.Model,
    data: o.Data,
    out: o.Out,
    groups: GroupsWord = "2",
    grouping: GroupingOption = "kmeans",
    similarity: Similarity = "features",
    target_macs: TargetMacs = None,
    target_latency: TargetLatency = None,
    target_ms: TargetMs = None,
    shared_macs: SharedMacs = None,
    shared_epochs: SharedEpochs = None,
    score: Score = "taylor",
    multiple: Multiple = 1,
    epochs: Epochs = RETRAINING.epochs,
    patience: Patience = RETRAINING.patience or 0,
    audit: Audit = False,
    lr: Lr = None,
    precision: PrecisionWord = "fp32",
    as_one: AsOne = False,
    runtime: RuntimeWord = None,
    choose_on: ChooseOn = "val",
    weights: o.Weights = None,
    input: o.Input = None,
    data_dir: o.DataDir = None,
    device: o.Device = "cpu",
    workers: o.Workers = None,
    seed: o.Seed = 0,
    trust: o.Trust = False,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Cut a trained network into one small member per group of classes, retrain them, and join their answers."""
    number = groups_of(groups)
    given = not isinstance(number, int)
    if shared_epochs is not None and shared_macs is None:
        raise SettingError(f"--shared-epochs {shared_epochs}: is of the network that --shared-macs asks for; set both.")
    training: dict[str, Any] = retraining(max(1, epochs), RETRAINING.lr, "fp32", patience or None).model_dump() | {
        "lr": RETRAINING.lr if lr is None else lr,
        "precision": precision,
    }
    told = {
        "name": f"{Path(model).name if Path(model).is_dir() else model} class-wise"[:80],
        "model": model,
        "data": data,
        "weights": weights,
        "input_shape": o.shape(input),
        "groups": number,
        "groupings": ("given",) if given else (word(grouping, GROUPINGS, "--grouping"),),
        "seeds": (seed,),
        "similarity": word(similarity, ("features", "candidates"), "--similarity"),
        "target_macs": 0.5 if target_macs is target_latency is target_ms is None else target_macs,
        "shared_macs": shared_macs,
        "shared_training": None if shared_epochs is None else {**training, "epochs": shared_epochs},
        "target_latency": target_latency,
        "target_ms": target_ms,
        "training": training if epochs else None,
        "audit": audit,
        "adapt": lr is None,
        "score": word(score, SCORES, "--score"),
        "multiple": multiple,
        "as_one": as_one,
        "choose_on": word(choose_on, ("val", "test-half"), "--choose-on"),
        "runtimes": tuple(word(one, RUNTIMES, "--runtime") for one in runtime or ("eager",)),
    }
    try:
        recipe = ClasswiseRecipe.model_validate(told)
    except ValidationError as error:
        said = sentence(error, ClasswiseRecipe, spell=option)
        raise SettingError(f"{said}." if said.startswith("--") else f"classwise: {said}.") from None
    carry_out(
        recipe,
        out,
        workers=workers,
        data_dir=data_dir,
        device=device,
        trust=trust,
        as_json=json,
        dry_run=dry_run,
    )


def option(place: str) -> str:
    """A setting of the recipe as it is typed.

    >>> option("target_macs"), option("training.lr"), option("shared_training.epochs"), option("shared_macs")
    ('--target-macs', '--lr', '--shared-epochs', '--shared-macs')
    """
    if place == "shared_training.epochs":
        return "--shared-epochs"
    return f"--{place.removeprefix('shared_training.').removeprefix('training.').replace('_', '-')}"


def groups_of(text: str) -> int | tuple[tuple[int, ...], ...]:
    """'2' -> 2, '0,1/2,3' -> ((0, 1), (2, 3)). Raises SettingError."""
    if text.isdecimal():
        return int(text)
    parts = [part.split(",") for part in text.split("/")]
    if "/" not in text or not all(one.strip().isdecimal() for part in parts for one in part):
        raise SettingError(f"--groups {text!r}: must be how many, or class numbers such as 0,1,2/3,4.")
    return tuple(tuple(int(one) for one in part) for part in parts)


def word(found: str, known: tuple[str, ...], option: str) -> str:
    """The word itself. Raises SettingError for one that is not known."""
    if found not in known:
        raise SettingError(
            f"{option} {found!r}: must be one of {', '.join(known)}{meant(found, known)}; pass one of them."
        )
    return found


def carry_out(
    recipe: ClasswiseRecipe,
    out: Path,
    *,
    workers: int | None,
    data_dir: str | None,
    device: str,
    trust: bool,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Carry a recipe out and tell it. All that can be refused is refused before data is read."""
    check_words(recipe, out, data_dir, device, trust)
    num_workers = workers_for(workers, device, "local")

    # torch takes seconds to import; typos are answered before.
    from prunelle.recipes.classwise_plan import plan_classwise
    from prunelle.recipes.classwise_told import HEADERS, summary, table, tell, write_files
    from prunelle.recipes.classwising import Asked, run_classwise
    from prunelle.train.ddp import check_device

    check_device(device)
    asked = Asked(out, num_workers, data_dir, device, trust, command=command_line())
    with progress() as watch:
        if dry_run:
            planned = plan_classwise(recipe, asked, watch)
        else:
            split = run_classwise(recipe, asked, watch)
            found = tell(split, asked, watch)
    if dry_run:
        tell_plan(planned, as_json)
        return
    files = write_files(split, found, asked)
    if as_json:
        print_json({**found, "files": files})
        return
    print_table(recipe.name, HEADERS, table(found))
    for one in summary(found):
        print(one)
    for file in files:
        print(f"{file['what']}: {file['path']} ({file['bytes']:,} bytes)")


def check_words(recipe: ClasswiseRecipe, out: Path, data_dir: str | None, device: str, trust: bool) -> None:
    """Every word, before torch is imported. Raises SettingError, ModelError, DataError, UntrustedCodeError."""
    from prunelle.data.find import check_data

    check_device_word(device)
    check_model_word(recipe.model, recipe.weights, trust)
    check_data(recipe.data, data_dir)
    shape_of(recipe.data, recipe.input_shape)
    check_out(out, "classwise.json")


def tell_plan(planned: dict[str, Any], as_json: bool) -> None:
    """What a dry run found."""
    if as_json:
        print_json(planned)
        return
    print_table(
        "would be made", ("member", "classes"), [(str(n), " ".join(c)) for n, c in enumerate(planned["groups"])]
    )
    print_pairs(
        "then",
        [
            ("trainings", str(planned["num_trainings"])),
            ("member-epochs", f"at most {planned['member_epochs']:,}"),
            ("minutes", f"about {planned['minutes']:.1f} with {planned['workers']} workers, if no member leaves early"),
            ("disk", f"about {planned['disk_bytes'] / 1e6:.1f} MB"),
        ],
    )
