from prunelle.report.groups import Spread, dense_partner, group_rows, paired, spread, timing_settings

ROWS = [
    {"run": "b", "variant": "pruned", "seed": 0, "top1": 0.90, "size_bytes": 20},
    {"run": "b", "variant": "dense", "seed": 0, "top1": 0.92, "size_bytes": 100},
    {"run": "b", "variant": "pruned", "seed": 1, "top1": 0.95, "size_bytes": 30},
    {"run": "b", "variant": "dense", "seed": 1, "top1": 0.94, "size_bytes": 100},
    {"run": "b", "variant": "pruned", "seed": 2, "top1": None, "size_bytes": 25, "diverged": True},
    {"run": "a", "variant": "pruned", "seed": 7, "top1": 0.5},
]


def test_medians_by_hand():
    assert spread([0.9, 0.95, None, 0.5, 0.7]) == Spread(median=(0.7 + 0.9) / 2, low=0.5, high=0.95, num=4)
    assert spread([None]) is None and spread([]) is None


def test_groups_stand_in_order_of_appearance_dense_first():
    groups = group_rows(ROWS)
    assert [(g.run, g.variant, len(g.rows)) for g in groups] == [
        ("b", "dense", 2),
        ("b", "pruned", 3),
        ("a", "pruned", 1),
    ]


def test_pruned_is_compared_with_dense_of_the_same_seed():
    pruned = group_rows(ROWS)[1]
    change = paired(pruned, "top1", lambda own, dense: round(own - dense, 9))
    assert change == Spread(median=-0.005, low=-0.02, high=0.01, num=2)
    assert paired(pruned, "size_bytes", lambda own, dense: own / dense) == Spread(0.25, 0.2, 0.3, 2)
    assert paired(group_rows(ROWS)[2], "top1", lambda own, dense: own - dense) is None


def test_a_dense_size_of_zero_is_compared_with_nothing():
    rows = [{"run": "r", "variant": v, "seed": 0, "size_bytes": b} for v, b in (("dense", 0), ("pruned", 5))]
    assert paired(group_rows(rows)[1], "size_bytes", lambda own, dense: own / dense if dense else None) is None


def test_one_baseline_serves_other_runs_of_its_model_but_never_by_a_guess():
    base = {"run": "baseline", "variant": "dense", "seed": 0, "model": "m"}
    other = {"run": "baseline 2", "variant": "dense", "seed": 0, "model": "m"}
    pruned = {"run": "cubic", "variant": "pruned", "seed": 0, "model": "m"}
    assert dense_partner(pruned, [base, pruned]) is base
    assert dense_partner(pruned, [base, other, pruned]) is None
    assert dense_partner({**pruned, "seed": 1}, [base]) is None
    assert dense_partner(base, [base, other]) is None


def test_timing_settings_count_only_what_was_timed():
    row = {"latency_median_ms": 1.0, "runtime": "eager", "batch": 1, "threads": 2}
    assert timing_settings([row, {**row}, {"batch": 9}]) == {("eager", 1, 2)}
    assert len(timing_settings([row, {**row, "batch": 8}])) == 2
