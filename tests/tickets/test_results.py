"""Rows, points and the winner of searches made by hand."""

from pathlib import Path
from typing import Any

import pytest
from small_lotteries import arrangement, lottery

from prunelle.tickets.grid import Member, Variant, dense
from prunelle.tickets.lottery import Place
from prunelle.tickets.results import points_of, retired, rows_of, winner
from prunelle.tickets.sweep import Swept


def card(val: float, test: float | None = None, **found: Any) -> dict[str, Any]:
    plain = {"val_loss": 0.1, "nnz": 5, "prunable": 10, "updates": 12, "updates_left_out": 0}
    plain |= {"left": None, "diverged": False, "would_leave": None, "val_top1": val}
    plain |= {"test_top1": val if test is None else test}
    return {"found": plain | found, "took": {"seconds": 6.0, "how": "plain"}}


def ticket(seed: int, kept: float, rewind: int = 0, variant: Variant = "ticket") -> Member:
    return Member(seed, kept, rewind, variant)


def swept(cards: dict[Member, dict], skipped: list[Member] | None = None, **told: Any) -> Swept:
    members = [*cards, *(skipped or [])]
    return Swept(members, cards, skipped or [], told.get("barriers", {}), arrangement(), {})


def points(found: Swept, tmp_path: Path) -> list[dict]:
    return points_of(rows_of(lottery(tmp_path), found, Place(tmp_path), 6))


TWO = {dense(0): card(0.95, 0.94), dense(1): card(0.95, 0.90)}


def test_a_row_by_hand(tmp_path: Path) -> None:
    twin = ticket(0, 0.5, 9, "twin")
    found = swept(TWO | {twin: card(0.91, 0.92, left="converged")}, barriers={twin: 0.25})
    row = rows_of(lottery(tmp_path), found, Place(tmp_path), 6)[2]
    name = row.pop("run")
    assert len(name) == 16 and row == {
        "variant": "twin",
        "kept": 0.5,
        "rewind": 9,
        "rewind_epoch": 1.5,
        "seed": 0,
        "status": "converged",
        "val_top1": 0.91,
        "val_loss": 0.1,
        "test_top1": 0.92,
        "nnz": 5,
        "prunable": 10,
        "updates": 12,
        "dense_val_top1": 0.95,
        "dense_test_top1": 0.94,
        "barrier": 0.25,
        "seconds": 6.0,
        "how": "plain",
    }


def test_gains_are_held_against_the_dense_network_of_the_same_seed(tmp_path: Path) -> None:
    # Gains .01 and .03: mean .02, standard deviation .0141, t(1) = 12.706: 12.706 * .0141 / sqrt(2) = .12706.
    own = {ticket(0, 0.5): card(0.9, 0.95), ticket(1, 0.5): card(0.8, 0.93)}
    first, second = points(swept(TWO | own), tmp_path)
    assert (second["gain"], second["gain_low"], second["gain_high"]) == pytest.approx((0.02, 0.02 - 0.12706, 0.14706))
    assert (second["test_top1"], second["test_top1_low"], second["test_top1_high"]) == pytest.approx((0.94, 0.93, 0.95))
    assert (second["val_top1"], second["num_seeds"], second["variant"]) == (pytest.approx(0.85), 2, "ticket")
    # The dense networks gain nothing on themselves.
    assert (first["gain"], first["gain_low"], first["gain_high"], first["kept"]) == (0.0, 0.0, 0.0, 1.0)


def test_what_diverged_or_was_skipped_is_no_point(tmp_path: Path) -> None:
    own = {
        ticket(0, 0.5): card(0.9),
        ticket(1, 0.5): card(0.1, diverged=True),
        ticket(0, 0.4): card(0.1, left="hopeless"),
    }
    found = swept(TWO | own, [ticket(1, 0.4)])
    rows = rows_of(lottery(tmp_path), found, Place(tmp_path), 6)
    assert [row["status"] for row in rows] == ["done", "done", "done", "diverged", "hopeless", "skipped"]
    assert "test_top1" not in rows[-1]
    assert [(p["kept"], p["num_seeds"]) for p in points_of(rows)] == [(1.0, 2), (0.5, 1), (0.4, 1)]


def test_points_stand_in_the_grid_s_order_whatever_is_missing(tmp_path: Path) -> None:
    # Of the first seed the ticket from the start was skipped, so that its row comes last.
    own = {ticket(0, 0.2, 6): card(0.9), ticket(1, 0.2, 0): card(0.9), ticket(1, 0.2, 6): card(0.9)}
    found = points(swept(TWO | own, [ticket(0, 0.2, 0)]), tmp_path)
    assert [(point["kept"], point["rewind"]) for point in found] == [(1.0, 0), (0.2, 0), (0.2, 6)]


def won(cards: dict[Member, dict], tmp_path: Path) -> tuple[Member, bool] | None:
    found = swept(cards)
    best = winner(found, points(found, tmp_path))
    return best and (best.member, best.matches)


def test_the_sparsest_that_matches_wins(tmp_path: Path) -> None:
    cards = TWO | {
        ticket(0, 0.5): card(0.99),
        ticket(0, 0.2): card(0.95),
        ticket(0, 0.2, 6): card(0.96),  # as sparse, and better on val
        ticket(0, 0.1): card(0.90),
        ticket(0, 0.1, 6, "random"): card(0.99),  # no control wins
    }
    assert won(cards, tmp_path) == (ticket(0, 0.2, 6), True)


def test_val_decides_and_test_has_no_say(tmp_path: Path) -> None:
    cards = TWO | {ticket(0, 0.2): card(0.95, 0.10), ticket(0, 0.1): card(0.5, 0.99)}
    assert won(cards, tmp_path) == (ticket(0, 0.2), True)


@pytest.mark.parametrize(("total", "right"), [(1000, 949), (5000, 4745), (6000, 5694), (12000, 11388), (55000, 52195)])
def test_a_tenth_of_a_point_below_still_matches(tmp_path: Path, total: int, right: int) -> None:
    """The dense networks have .95."""
    assert won(TWO | {ticket(0, 0.2): card(right / total)}, tmp_path) == (ticket(0, 0.2), True)
    assert won(TWO | {ticket(0, 0.2): card((right - 1) / total)}, tmp_path) == (ticket(0, 0.2), False)


def test_the_median_of_the_seeds_must_match_and_the_best_of_them_is_taken(tmp_path: Path) -> None:
    three = TWO | {dense(2): card(0.99)}
    cards = three | {ticket(seed, 0.2): card(val) for seed, val in enumerate((0.95, 0.97, 0.2))}
    assert won(cards, tmp_path) == (ticket(1, 0.2), True)
    cards = three | {ticket(seed, 0.2): card(val) for seed, val in enumerate((0.96, 0.96, 0.2))}
    assert won(cards, tmp_path) == (ticket(0, 0.2), True)  # of equal ones the first seed


def test_seeds_that_are_missing_count_as_nothing(tmp_path: Path) -> None:
    cards = TWO | {dense(2): card(0.95)} | {ticket(seed, 0.5): card(0.95) for seed in (0, 1, 2)}
    cards |= {ticket(0, 0.2): card(0.99), ticket(1, 0.2): card(0.1, diverged=True)}
    found = swept(cards, [ticket(2, 0.2)])
    # One of three came through at .2: its median is 0, though what stands there is .99.
    best = winner(found, points(found, tmp_path))
    assert best is not None and (best.member.kept, best.matches) == (0.5, True)
    # Two of three: the median is the worse of them.
    more = swept(cards | {ticket(1, 0.2): card(0.96)}, [ticket(2, 0.2)])
    best = winner(more, points(more, tmp_path))
    assert best is not None and (best.member, best.matches) == (ticket(0, 0.2), True)


def test_where_none_matches_the_best_is_named_for_what_it_is(tmp_path: Path) -> None:
    cards = TWO | {ticket(0, 0.5): card(0.90), ticket(0, 0.2, 0, "lr"): card(0.92), ticket(0, 0.1): card(0.4)}
    assert won(cards, tmp_path) == (ticket(0, 0.2, 0, "lr"), False)


def test_without_a_ticket_nobody_wins(tmp_path: Path) -> None:
    assert won(dict(TWO), tmp_path) is None
    assert won(TWO | {ticket(0, 0.5): card(0.9, diverged=True)}, tmp_path) is None


def test_what_retiring_saved_and_cost_by_hand() -> None:
    cards = TWO | {
        ticket(0, 0.5): card(0.9, updates=10, updates_left_out=20, left="converged"),
        ticket(0, 0.4): card(0.9, updates=30, would_leave=["converged", 0.86, 3]),
        ticket(0, 0.3): card(0.8, updates=20, would_leave=["hopeless", 0.80, 2]),
        ticket(0, 0.2): card(0.1, updates=0, updates_left_out=30, diverged=True),  # nobody's saving
    }
    # 24 seconds for 60 updates; 20 were left out.
    found = retired(swept(cards))
    assert found == {
        "members": 1,
        "updates_saved": 20,
        "updates": 60,
        "hours_saved": pytest.approx(20 * 0.4 / 3600),
        "audited": 2,
        "accuracy_cost": pytest.approx(0.02),
    }


def test_where_nobody_left_nothing_is_saved() -> None:
    found = retired(swept(TWO | {ticket(0, 0.5): card(0.9)}))
    assert (found["members"], found["hours_saved"], found["accuracy_cost"]) == (0, 0.0, None)
