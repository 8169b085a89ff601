"""What quickstart, train, prune and run share: check, maybe only plan, run, report, tell."""

from __future__ import annotations

from pathlib import Path

from prunelle.cli.channels import print_verdict
from prunelle.cli.options import layout
from prunelle.cli.show import command_line, print_json, print_outcome, print_pairs, progress
from prunelle.errors import WorkError
from prunelle.recipes.check import check_fit_of_weights, check_words, threads_pay
from prunelle.recipes.settings import Recipe


def carry_out(
    recipe: Recipe,
    out: Path,
    *,
    data_dir: str | None,
    device: str,
    threads: int | None,
    workers: int | None,
    trust: bool,
    as_json: bool,
    dry_run: bool,
    verified: bool = False,
) -> None:
    """Run a recipe in `out` and print what came of it. All that can be refused is refused before data is read.

    verified: hold the cut that was made against the masked network.
    """
    check_words(recipe, out, data_dir, trust)
    num_threads, num_workers = layout(len(recipe.cells) * len(recipe.seeds), threads, workers, device)

    # torch takes seconds to import; typos are answered before.
    from prunelle.recipes.experiment import check_converged, run_experiment
    from prunelle.recipes.plan import Place
    from prunelle.train.ddp import check_device

    check_device(device)
    check_fit_of_weights(recipe, trust)
    if threads is None and num_threads > 1 and not threads_pay(recipe, trust):
        num_threads = 1
    place = Place(out, data_dir, device, num_threads, num_workers, trust, command=command_line())
    if dry_run:
        from prunelle.recipes.estimate import estimate

        tell_plan(estimate(recipe, place), as_json)
        return
    try:
        with progress() as watch:
            finished = run_experiment(recipe, place, watch)
    except WorkError as error:
        if verified and as_json:
            print_json(not_done(recipe.cells[0].model, str(error)))
        raise
    if finished is None:  # a rank of a torchrun job that is not the first
        return
    from prunelle.recipes.held import verdict_of_run
    from prunelle.recipes.outcome import report, write_report

    found = report(recipe, finished, place)
    files = write_report(found, out)
    told = verdict_of_run(finished, place) if verified else {}
    print_outcome(found.summary, finished.rows, files, as_json, told)
    if told and not as_json:
        print_verdict(told)
    check_converged(finished)
    if not told.get("ok", True):
        raise WorkError(f"{'; '.join(told['problems'])}; do not use the network in {out}.")


def not_done(model: str, why: str) -> dict:
    """What --verify tells of a network that could not be cut."""
    keys = ("params_before", "params_after", "macs_before", "macs_after", "max_rel_err", "seconds")
    return {"ok": False, "problems": [why], "model": model, **dict.fromkeys(keys), "frozen": []}


def tell_plan(found: dict, as_json: bool) -> None:
    """Print what a dry run found."""
    if as_json:
        print_json(found)
        return
    print_pairs(
        "plan",
        [
            ("runs", f"{found['num_runs']} on {found['workers']} workers of {found['threads']} threads"),
            ("steps", f"{found['num_steps']:,}"),
            ("minutes", f"about {found['minutes']:.1f} (from a pilot of a few steps on random images)"),
            ("disk", f"about {found['disk_bytes'] / 1e6:.1f} MB"),
        ],
    )
