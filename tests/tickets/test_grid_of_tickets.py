"""tickets/grid.py"""

import pytest

from prunelle.errors import SettingError
from prunelle.tickets.grid import Grid, Member, dense, parent, ticket_of, waves

KEPT, POINTS, SEEDS = (0.8, 0.64), (0, 100, 200), (3, 4)


def test_a_grid_by_hand() -> None:
    first, rest = waves(Grid(KEPT, POINTS, SEEDS))
    assert first == [Member(3, 1.0, 0), Member(4, 1.0, 0)] == [dense(3), dense(4)]
    assert len(rest) == 2 * 3 * 2  # masks, rewinding points, seeds
    assert rest[:3] == [Member(3, 0.8, 0, "ticket"), Member(3, 0.8, 100, "ticket"), Member(3, 0.8, 200, "ticket")]
    assert {parent(member) for member in rest} == set(first)


def test_the_grid_of_the_papers_has_a_hundred_tickets() -> None:
    twenty = tuple(0.8**number for number in range(1, 21))
    assert [len(wave) for wave in waves(Grid(twenty, (0, 1, 2, 4, 8), (0,)))] == [1, 100]


def test_rounds_wait_for_the_ticket_before() -> None:
    first, once, twice = waves(Grid(KEPT, (5,), (0,), iterative=True, controls=("random", "lr")))
    assert [member.variant for member in twice] == ["ticket", "random", "lr"]
    assert {parent(member) for member in twice} == {once[0]} and once[0].variant == "ticket"
    assert {parent(member) for member in once} == set(first) == {dense(0)}
    assert parent(dense(0)) is None
    assert {member.chain for member in twice} == {(0.8,)} and {member.chain for member in once} == {()}


def test_fresh_weights_under_one_mask_are_trained_once() -> None:
    _, rest = waves(Grid((0.5,), POINTS, (0,), controls=("reinit",)))
    assert [member for member in rest if member.variant == "reinit"] == [Member(0, 0.5, 0, "reinit")]
    # In rounds every rewinding point has masks of its own.
    found = [m for wave in waves(Grid(KEPT, POINTS, (0,), iterative=True, controls=("reinit",))) for m in wave]
    assert [m.rewind for m in found if m.variant == "reinit"] == [0, 100, 200] * 2


def test_without_controls_only_tickets_stand_beside_the_dense() -> None:
    assert {member.variant for wave in waves(Grid(KEPT, POINTS, SEEDS)) for member in wave} == {"dense", "ticket"}


def test_a_control_knows_its_ticket() -> None:
    assert ticket_of(Member(1, 0.5, 7, "twin", (0.8,))) == Member(1, 0.5, 7, "ticket", (0.8,))
    assert ticket_of(Member(1, 0.5, 7, "ticket")) == Member(1, 0.5, 7, "ticket")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kept": ()}, r"grid: kept is \(\), must be shares between 0 and 1, each below the one before."),
        ({"kept": (0.5, 0.5)}, "each below the one before"),
        ({"kept": (1.0, 0.5)}, "shares between 0 and 1"),
        ({"kept": (0.5, 0.0)}, "shares between 0 and 1"),
        ({"rewinds": ()}, "must be numbers of updates from 0 on, rising"),
        ({"rewinds": (-1, 3)}, r"grid: rewinds is \(-1, 3\)"),
        ({"rewinds": (3, 3)}, "rising"),
        ({"seeds": ()}, "must name at least one, none twice"),
        ({"seeds": (1, 2, 1)}, "none twice"),
        ({"controls": ("random", "random")}, "grid: control 'random'; known are random, shuffled, .*, each once."),
        ({"controls": ("dense",)}, "grid: control 'dense'"),
    ],
)
def test_what_is_no_grid(changed: dict, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Grid(**{"kept": KEPT, "rewinds": POINTS, "seeds": SEEDS} | changed)


def test_a_point_after_the_end() -> None:
    grid = Grid(KEPT, POINTS, SEEDS)
    grid.check_length(201)
    with pytest.raises(SettingError, match="point is update 200 and the dense run has 200; take earlier ones or more"):
        grid.check_length(200)
