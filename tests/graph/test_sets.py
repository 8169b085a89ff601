import numpy as np

from prunelle.graph.sets import cells_of


def test_units_that_count_alike_in_every_part_are_one_cell() -> None:
    units = np.array([2, 5, 7, 9])
    parts = [(np.array([2, 5]), np.array([1, 1])), (np.array([7, 9]), np.array([1, 2]))]
    assert sorted(cell.tolist() for cell in cells_of(units, parts)) == [[2, 5], [7], [9]]


def test_a_part_may_hold_units_that_nothing_makes() -> None:
    units = np.array([2, 5, 7])
    parts = [(np.array([2, 4, 8]), np.array([1, 3, 3])), (np.array([5, 7]), np.array([1, 1]))]
    assert sorted(cell.tolist() for cell in cells_of(units, parts)) == [[2], [5, 7]]


def test_without_parts_all_are_one_cell() -> None:
    assert [cell.tolist() for cell in cells_of(np.array([1, 3]), [])] == [[1, 3]]
