"""prunelle quickstart"""

from __future__ import annotations

from pathlib import Path

from prunelle.cli import options as o
from prunelle.cli.experiment import carry_out


def quickstart(
    out: o.Out = Path("quickstart"),
    workers: o.Workers = None,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Train, prune to 90 % zeros, measure and show LeNet-300-100 on the embedded digits: half a minute."""
    from prunelle.recipes.quickstart import quickstart as recipe

    carry_out(
        recipe(),
        out,
        data_dir=None,
        device="cpu",
        threads=None,
        workers=workers,
        trust=False,
        as_json=json,
        dry_run=dry_run,
    )
