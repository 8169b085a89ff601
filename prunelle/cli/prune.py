"""prunelle prune"""

from __future__ import annotations

from typing import Annotated

import typer

from prunelle.cli import options as o
from prunelle.cli.experiment import carry_out

Sparsity = Annotated[float, typer.Option("--sparsity", help="Share of the prunable weights to zero, in [0, 1).")]
Score = Annotated[str, typer.Option("--score", help="magnitude, magnitude_times_gradient or random.")]
Scope = Annotated[str, typer.Option("--scope", help="global: one threshold for all; layer: the same share in each.")]
Epochs = Annotated[int, typer.Option("--epochs", help="Epochs of training while sparsity rises; 0 = one shot.")]
Words = Annotated[list[str] | None, typer.Option("--set", help="key=value of the training, such as lr=0.001.")]


def prune(
    model: o.Model,
    data: o.Data,
    sparsity: Sparsity,
    out: o.Out,
    score: Score = "magnitude",
    scope: Scope = "global",
    epochs: Epochs = 10,
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
    """Prune a trained network while training on, and measure the saved result beside the dense one."""
    from prunelle.recipes.single import prune_recipe

    carry_out(
        prune_recipe(model, data, weights, o.shape(input), sparsity, score, scope, epochs, seed, o.settings(set)),
        out,
        data_dir=data_dir,
        device=device,
        threads=threads,
        workers=1,
        trust=trust,
        as_json=json,
        dry_run=dry_run,
    )
