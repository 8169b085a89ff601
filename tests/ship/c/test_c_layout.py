import pytest

from prunelle.ship.c.layout import layout_of, valid_lanes


def test_eight_rows_of_eight_are_four_vectors_by_hand() -> None:
    """Vector r holds row r and row r + 4: pixel (5, 2) is in vector 1, lane 8 + 2."""
    layout = layout_of(8, 8, 16)
    assert (layout.rows, layout.vecs, layout.groups, layout.span, layout.full) == (4, 1, 2, 8, True)
    assert layout.place(5, 2) == 1 * 16 + 8 + 2


def test_a_row_wider_than_a_vector_takes_whole_ones() -> None:
    layout = layout_of(3, 17, 16)
    assert (layout.rows, layout.vecs, layout.groups, layout.full) == (3, 2, 1, False)
    assert layout.place(2, 16) == 2 * 32 + 16


@pytest.mark.parametrize("lanes", (4, 8, 16, 32))
def test_every_pixel_has_a_lane_of_its_own_that_is_valid(lanes: int) -> None:
    for height in (1, 2, 3, 5, 7, 8, 13, 16, 33):
        for width in (1, 2, 3, 4, 7, 8, 9, 16, 17, 33, 40):
            layout = layout_of(height, width, lanes)
            places = {layout.place(y, x) for y in range(height) for x in range(width)}
            flags = [flag for vector in range(layout.num_vectors) for flag in valid_lanes(layout, vector)]
            assert places == {place for place, flag in enumerate(flags) if flag}
            assert len(places) == height * width
            assert layout.full == all(flags)


def test_a_step_down_is_the_next_row_of_vectors() -> None:
    layout = layout_of(7, 7, 16)
    for row in range(6):
        if row % layout.rows != layout.rows - 1:
            assert layout.place(row + 1, 3) - layout.place(row, 3) == layout.vecs * layout.lanes
