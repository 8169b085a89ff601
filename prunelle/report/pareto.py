"""The Pareto front: the measured models that no other measured model beats on both axes."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that are on the front, from cheapest to dearest.

    points: (cost, gain) pairs; a lower cost and a higher gain are better.
    A point is left out when another costs no more and gains as much or more; of equal points the first stays.

    >>> pareto_front([(10, 0.98), (2, 0.97), (4, 0.96), (1, 0.80)])
    [3, 1, 0]
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front
