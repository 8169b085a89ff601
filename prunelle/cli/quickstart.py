"""prunelle quickstart"""

from __future__ import annotations

from pathlib import Path

from prunelle.cli import options as o
from prunelle.cli.experiment import carry_out


def quickstart(
    out: o.Out = Path("quickstart"),
    device: o.Device = "cpu",
    threads: o.Threads = None,
    workers: o.Workers = None,
    seed: o.Seed = 0,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Train, prune to 90 % zeros, measure and show LeNet-300-100 on the embedded digits: half a minute."""
    from prunelle.recipes.names import shifted
    from prunelle.recipes.quickstart import quickstart as recipe

    carry_out(
        shifted(recipe(), seed),
        out,
        data_dir=None,
        device=device,
        threads=threads,
        workers=workers,
        trust=False,
        as_json=json,
        dry_run=dry_run,
    )
