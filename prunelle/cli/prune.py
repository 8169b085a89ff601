"""prunelle prune"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from prunelle.cli import options as o
from prunelle.cli.channels import cut_and_tell
from prunelle.cli.experiment import carry_out
from prunelle.errors import SettingError
from prunelle.ship.names import RUNTIMES

Sparsity = Annotated[float | None, typer.Option("--sparsity", help="Zero this share of the weights, in [0, 1).")]
Channels = Annotated[float | None, typer.Option("--channels", help="Cut out this share of the channels, in [0, 1).")]
Blocks = Annotated[
    str | None,
    typer.Option("--blocks", help="Take out so many residual blocks, or this share of the MACs."),
]
Latency = Annotated[
    str | None, typer.Option("--latency", help="Cut channels until a call takes 0.6x the dense time, or 3ms.")
]
Runtime = Annotated[str | None, typer.Option("--runtime", help=f"Of --latency: {', '.join(RUNTIMES)}; default eager.")]
Batch = Annotated[int | None, typer.Option("--batch", help="Of --latency: images a call; default 1.")]
Of = Annotated[str | None, typer.Option("--of", help="What --channels is a share of: channels, macs or params.")]
Score = Annotated[
    str | None,
    typer.Option(
        "--score",
        help="Weights: magnitude, unit_magnitude, magnitude_times_gradient, random. Channels: l2, l1, fpgm, bn_scale, "
        "taylor, apoz, activation, random. The first is the default.",
    ),
]
Scope = Annotated[
    str | None,
    typer.Option(
        "--scope",
        help="global: one threshold for all; layer: the same share in each; set: in each set of tied channels; "
        "cost: more where weights or channels cost more. Default: global for weights, set for channels.",
    ),
]
Floor = Annotated[int | None, typer.Option("--floor", help="Channels that every set keeps; default 1.")]
Multiple = Annotated[int | None, typer.Option("--multiple", help="Round kept widths up to a multiple of this.")]
Skip = Annotated[list[str] | None, typer.Option("--skip", help="Path of a module to leave alone; may be repeated.")]
Repair = Annotated[
    str | None,
    typer.Option("--repair", help="bn: norms measured anew; lsq: layers solved anew; bn,lsq. Needs --data."),
]
Verify = Annotated[bool, typer.Option("--verify", help="Hold the cut network against the masked one in float64.")]
Epochs = Annotated[
    int | None, typer.Option("--epochs", help="Epochs of training: default 10 with --sparsity, else 0, after the cut.")
]
Words = Annotated[list[str] | None, typer.Option("--set", help="key=value of the training, such as lr=0.001.")]
DataOrNone = Annotated[
    str | None,
    typer.Option(
        "--data", help="digits, mnist, fashion-mnist, cifar10, cifar100, a folder or a .npz; channels can do without."
    ),
]


def prune(
    model: o.Model,
    out: o.Out,
    sparsity: Sparsity = None,
    channels: Channels = None,
    latency: Latency = None,
    blocks: Blocks = None,
    data: DataOrNone = None,
    of: Of = None,
    score: Score = None,
    scope: Scope = None,
    floor: Floor = None,
    multiple: Multiple = None,
    skip: Skip = None,
    repair: Repair = None,
    runtime: Runtime = None,
    batch: Batch = None,
    verify: Verify = False,
    epochs: Epochs = None,
    weights: o.Weights = None,
    input: o.Input = None,
    set: Words = None,
    data_dir: o.DataDir = None,
    device: o.Device = "cpu",
    threads: o.Threads = None,
    seed: o.Seed = 0,
    trust: o.Trust = False,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Zero weights, or cut out channels or blocks, and measure the saved result beside the dense one."""
    what = the_one({"--sparsity": sparsity, "--channels": channels, "--latency": latency, "--blocks": blocks})
    place: dict[str, Any] = {"device": device, "threads": threads, "trust": trust, "as_json": json, "dry_run": dry_run}
    shape, mending = o.shape(input), None if repair is None else repair.split(",")
    shapes = {"--of": of, "--floor": floor, "--multiple": multiple, "--skip": skip, "--verify": verify or None}
    timed = {"--runtime": runtime, "--batch": batch}
    idle: dict[str, Mapping[str, object]] = {
        "--sparsity": {**shapes, **timed, "--repair": repair},
        "--channels": timed,
        "--latency": {"--of": of},
        "--blocks": {**shapes, **timed, "--score": score, "--scope": scope},
    }
    refuse(what, idle[what])
    from prunelle.recipes import single

    if what == "--sparsity":
        assert sparsity is not None
        zeroing = (sparsity, given(score, "magnitude"), given(scope, "global"), 10 if epochs is None else epochs)
        recipe = single.prune_recipe(model, needed(data, what), weights, shape, *zeroing, seed, o.settings(set))
        carry_out(recipe, out, data_dir=data_dir, workers=1, **place)
        return
    stage: single.Cutting
    if what == "--blocks":
        stage = single.blocks_stage(str(blocks), mending)
        data = needed(data, what)
    else:
        words: dict[str, Any] = {"score": score, "scope": scope, "floor": floor, "skip": skip, "repair": mending}
        if latency is None:
            stage = single.channels_stage(words | {"amount": channels, "of": of, "multiple": multiple})
        else:
            multiples = None if multiple is None else [multiple]
            words |= {"runtime": runtime, "batch": batch, "threads": threads, "multiples": multiples}
            stage = single.latency_stage(latency, words)
    if data is None:
        refuse(f"{what} without --data", {"--epochs": epochs, "--set": set, "--data-dir": data_dir})
        assert not isinstance(stage, single.BlocksStage)
        cut_and_tell(model, stage, weights, shape, seed, out, verified=verify, **place)
        return
    if verify and not isinstance(stage, single.ChannelsStage):
        raise SettingError("--verify: with --data only what --channels cuts is held; leave out one of the two.")
    recipe = single.cut_recipe(model, data, weights, shape, stage, epochs or 0, seed, o.settings(set))
    carry_out(recipe, out, data_dir=data_dir, workers=1, verified=verify, **place)


def given(word: str | None, otherwise: str) -> str:
    """The word, also an empty one, which is refused where it is read."""
    return otherwise if word is None else word


def needed(data: str | None, what: str) -> str:
    """Raises SettingError without --data."""
    if data is None:
        why = {
            "--sparsity": "zeros weights while training",
            "--blocks": "judges each block by its worth on images",
        }
        raise SettingError(f"{what}: {why[what]}, which needs --data; pass it.")
    return data


def the_one(amounts: Mapping[str, object]) -> str:
    """The option of which there must be exactly one. Raises SettingError."""
    given = [name for name, value in amounts.items() if value is not None]
    if not given:
        raise SettingError(f"prune: says not how much; pass one of {', '.join(amounts)}.")
    if len(given) > 1:
        raise SettingError(f"{' and '.join(given)}: exclude each other; pass one of them.")
    return given[0]


def refuse(where: str, options: Mapping[str, object]) -> None:
    """Raises SettingError for an option that would do nothing."""
    for name, value in options.items():
        if value is not None:
            raise SettingError(f"{name}: does nothing with {where}; leave it out.")
