import dataclasses
from pathlib import Path

from prunelle.recipes.experiment import Finished, run_experiment
from prunelle.recipes.outcome import measure_command, notes, representatives, summaries, warnings
from prunelle.recipes.plan import plan

from .small import cell, place, recipe


def finished(losses: list[float], diverged: bool = False, uncounted: dict | None = None) -> Finished:
    """Dense networks of 90 % beside pruned ones that lose so many points; half as large, a fifth of the weights."""
    runs = plan(recipe(seeds=tuple(range(len(losses)))), {"digits": "f"})
    rows = []
    for one in runs:
        dense = one.dense is None
        rows.append(
            {
                "id": f"{one.variant}{one.seed}",
                "dense_id": None if dense else f"dense{one.seed}",
                "run": one.cell.label,
                "top1": 0.9 if dense else 0.9 - losses[one.seed] / 100,
                "val_top1": 0.9 if dense else 0.9 - losses[one.seed] / 100,
                "size_bytes": 100 if dense else 50,
                "nnz": 100 if dense else 20,
                "latency_ratio": None if dense else 1.25,
                "diverged": diverged and not dense,
            }
        )
    cards = [{"uncounted": uncounted or {}} for _ in runs]
    return Finished(runs, rows, cards, runs[-1])


def test_the_shipped_network_is_measured_by_a_line_that_can_be_typed() -> None:
    assert measure_command(place(Path("my out")), "digits") == "prunelle measure 'my out' --data digits"
    full = measure_command(place(Path("out"), data_dir="my data", device="cuda", trust=True), "my set.npz")
    assert full == "prunelle measure out --data 'my set.npz' --data-dir 'my data' --device cuda --trust"


def test_the_summary_pairs_by_seed() -> None:
    assert summaries(finished([1.0, 2.0, 3.0])) == [
        "gradual: 5.0 times fewer weights change top-1 by -2.00 points (mean over 3 seeds, each against its own, 95 % "
        "interval -4.48 to +0.48), in a folder 0.50 times as large, at 1.25 times the speed."
    ]


def test_one_seed_has_no_interval() -> None:
    assert "(one seed)" in summaries(finished([1.0]))[0]


def test_a_fall_after_few_updates_names_its_cause(tmp_path: Path) -> None:
    where = place(tmp_path / "o")
    lost = run_experiment(recipe(cell(dense=None)), where)
    assert lost is not None
    fallen = dataclasses.replace(lost, rows=[lost.rows[0] | {"top1": 0.9}, lost.rows[1] | {"top1": 0.5}])
    assert warnings(fallen, where) == [
        "gradual: lenet_300_100 was pruned with random weights; train it first, or pass --weights.",
        "gradual: top-1 fell after only 9 updates; raise --epochs or --set lr=.",
    ]
    assert warnings(dataclasses.replace(lost, rows=[r | {"top1": 0.9} for r in lost.rows]), where) == []


def test_the_representative_is_the_median_on_val() -> None:
    (one,) = representatives(finished([1.0, 9.0, 2.0]))
    assert (one.variant, one.seed) == ("pruned", 2)


def test_notes_name_what_was_not_counted_and_what_diverged() -> None:
    plain = notes(finished([1.0]))
    told = notes(finished([1.0], diverged=True, uncounted={"aten.foo": 1}))
    assert told[: len(plain)] == plain
    assert told[len(plain) :] == [
        "These operators have no counting rule and are missing from the MACs: aten.foo.",
        "Diverged, with the last good weights kept: pruned0.",
    ]


def test_rows_without_a_pruned_network_have_no_summary() -> None:
    all_of_it = finished([1.0])
    dense_only = dataclasses.replace(all_of_it, runs=all_of_it.runs[:1], rows=all_of_it.rows[:1])
    assert summaries(dense_only) == []
    assert representatives(dense_only) == []
