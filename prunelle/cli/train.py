"""prunelle train"""

from __future__ import annotations

from typing import Annotated

import typer

from prunelle.cli import options as o
from prunelle.cli.experiment import carry_out

Words = Annotated[list[str] | None, typer.Option("--set", help="key=value of the training, such as lr=0.1.")]


def train(
    model: o.Model,
    data: o.Data,
    out: o.Out,
    epochs: Annotated[int, typer.Option("--epochs", help="Times through the training split.")] = 30,
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
    """Train a network. Under torchrun the ranks share each batch."""
    from prunelle.recipes.single import train_recipe

    carry_out(
        train_recipe(model, data, weights, o.shape(input), epochs, seed, o.settings(set)),
        out,
        data_dir=data_dir,
        device=device,
        threads=threads,
        workers=1,
        trust=trust,
        as_json=json,
        dry_run=dry_run,
    )
