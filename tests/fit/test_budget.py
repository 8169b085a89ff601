import math
from dataclasses import replace

import pytest

from prunelle.errors import SettingError
from prunelle.fit.budget import Budget, best, front, nearest
from prunelle.fit.candidates import ZEROS, Candidate, Cut
from prunelle.fit.entry import Entry


def entry(amount: float, **figures) -> Entry:
    """An entry of its own name: so many zeros."""
    figures = {"median_ms": 1.0, "share": 0.5, "size_bytes": 10_000, "val_top1": 0.9, "drop": 1.0} | figures
    one = Candidate((Cut(ZEROS, amount),), (), "native", "fp32")
    return replace(Entry.example(**figures), candidate=one)


@pytest.mark.parametrize("name", ["max_ms", "max_ratio", "max_kb"])
@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan])
def test_a_limit_that_is_no_number_above_zero_is_refused(name, value):
    with pytest.raises(SettingError, match=rf"^budget: {name} is {value}, must be a number above 0\.$"):
        Budget(**{name: value})


def test_a_drop_may_be_below_zero_and_is_above_minus_100_points():
    assert Budget(max_drop=-0.5).max_drop == -0.5 and Budget(max_drop=0.0).max_drop == 0
    for value in (-100, math.nan, math.inf):
        with pytest.raises(SettingError, match=rf"max_drop is {value}, must be a number above -100"):
            Budget(max_drop=value)


def test_no_limit_and_two_of_one_kind_are_refused():
    with pytest.raises(SettingError, match=r"^budget: no limit was given; give max_ms, max_kb or max_drop\.$"):
        Budget()
    with pytest.raises(SettingError, match=r"max_ms is 1\.0 and max_ratio 0\.5; give one of the two"):
        Budget(max_ms=1.0, max_ratio=0.5)


def test_what_is_used_of_each_limit():
    """3 ms of 2, 50 of 100 KB, and .7 points where .5 are allowed: a fifth of a point too many."""
    one = entry(0.5, median_ms=3.0, share=0.25, size_bytes=50_000, drop=0.7)
    assert Budget(max_ms=2.0, max_kb=100, max_drop=0.5).used(one) == pytest.approx({"ms": 1.5, "kb": 0.5, "drop": 1.04})
    assert Budget(max_ratio=0.5).used(one) == {"ms": 0.5}
    assert Budget(max_kb=25).used(one) == {"kb": 2.0}
    assert Budget(max_ms=6, max_kb=10).has_time and Budget(max_ratio=1).has_time and not Budget(max_kb=1).has_time


def test_excess_is_the_sum_over_the_limits_asked_for():
    one = entry(0.5, median_ms=3.0, size_bytes=50_000, drop=0.7)
    budget = Budget(max_ms=2.0, max_kb=40, max_drop=0.5)
    assert budget.excess(one) == pytest.approx(0.5 + 0.25 + 0.04)
    assert budget.excess(one, ("kb", "drop")) == pytest.approx(0.29)
    assert budget.excess(one, ()) == 0
    assert Budget(max_ms=3.0, max_kb=50, max_drop=0.7).excess(one) == 0  # all that is allowed is allowed
    assert Budget(max_ms=3.0, max_kb=50, max_drop=0.7).met(one) and not budget.met(one)


def test_with_time_or_size_the_most_accurate_of_those_that_keep_them_then_the_cheapest():
    budget = Budget(max_ms=2.0)
    slow = entry(0.1, median_ms=2.1, val_top1=0.99)
    good = entry(0.2, median_ms=1.9, val_top1=0.95)
    small = entry(0.3, median_ms=1.9, val_top1=0.95, size_bytes=9_000)
    poor = entry(0.4, median_ms=0.1, val_top1=0.90)
    assert sorted([slow, good, small, poor], key=budget.rank) == [small, good, poor, slow]
    assert best(budget, [slow, good, poor]) is good


def test_where_none_keeps_the_limits_the_nearest_to_them_is_the_best():
    budget = Budget(max_ms=1.0, max_kb=10)
    near = entry(0.1, median_ms=1.3, size_bytes=10_000, val_top1=0.5)
    far = entry(0.2, median_ms=1.0, size_bytes=14_000, val_top1=0.9)
    assert best(budget, [far, near]) is near


def test_with_accuracy_alone_the_fastest_and_first_those_that_keep_it_by_a_standard_error():
    budget = Budget(max_drop=0.5)
    dense = entry(0.1, median_ms=3.0, drop=0.0, drop_error=0.0)
    sure = entry(0.2, median_ms=2.0, drop=0.2, drop_error=0.3)
    near = entry(0.3, median_ms=1.0, drop=0.2, drop_error=0.31)
    over = entry(0.4, median_ms=0.1, drop=0.6, drop_error=0.0)
    assert sorted([over, near, dense, sure], key=budget.rank) == [sure, dense, near, over]


def test_what_is_not_fit_is_never_the_best_nearest_or_in_front():
    broken = replace(entry(0.5, median_ms=0.0, size_bytes=0, val_top1=1.0, drop=-5), status="refused", why="no.")
    budget = Budget(max_ms=2.0, max_kb=100)
    assert best(budget, [broken]) is None and best(budget, []) is None
    assert nearest(budget, [broken]) == {} == nearest(budget, [])
    assert front([broken]) == []
    good = entry(0.1)
    assert best(budget, [broken, good]) is good
    assert nearest(budget, [broken, good]) == {"ms": good, "kb": good}
    assert front([broken, good]) == [good]


def test_the_nearest_miss_on_each_limit_keeps_the_others():
    budget = Budget(max_ms=1.0, max_kb=10, max_drop=1.0)
    slow = entry(0.1, median_ms=1.5, size_bytes=9_000, drop=0.0)
    slower = entry(0.2, median_ms=1.6, size_bytes=1_000, drop=0.0)
    quick_but_large = entry(0.3, median_ms=0.1, size_bytes=30_000, drop=0.0)
    found = nearest(budget, [slower, slow, quick_but_large])
    assert found["ms"] is slow  # not the quick one, which is too large
    assert found["kb"] is quick_but_large
    # None keeps time and size at once: excess is 0.5, 0.6 and 2.
    assert found["drop"] is slow


def test_limits_that_were_not_given_have_no_nearest_miss():
    assert list(nearest(Budget(max_kb=1), [entry(0.1)])) == ["kb"]
    assert list(nearest(Budget(max_ratio=0.1, max_drop=0), [entry(0.1)])) == ["ms", "drop"]


def test_in_front_are_those_that_no_other_beats():
    accurate = entry(0.1, val_top1=0.99, median_ms=3.0, size_bytes=30)
    fast = entry(0.2, val_top1=0.9, median_ms=1.0, size_bytes=20)
    small = entry(0.3, val_top1=0.9, median_ms=2.0, size_bytes=10)
    beaten = entry(0.4, val_top1=0.9, median_ms=1.0, size_bytes=21)
    twin = replace(fast, candidate=replace(fast.candidate, precision="int16"))
    assert front([beaten, small, twin, accurate, fast]) == [small, twin, accurate, fast]
    assert front([beaten]) == [beaten]


def test_a_met_budget_is_never_ranked_behind_one_that_is_not():
    budget = Budget(max_ms=1.0, max_kb=10, max_drop=1.0)
    draws = [
        entry(round(0.01 * n + 0.01, 2), median_ms=0.4 * (n % 5), size_bytes=4_000 * (n % 4), drop=0.6 * (n % 3))
        for n in range(60)
    ]
    ranked = sorted(draws, key=budget.rank)
    met = [budget.met(one) for one in ranked]
    assert any(met) and not all(met) and met == sorted(met, reverse=True)
    assert budget.met(ranked[0]) and best(budget, draws[::-1]) is ranked[0]
