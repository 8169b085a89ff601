import random

from prunelle.report.pareto import pareto_front


def test_front_by_hand():
    #   cost  gain   beaten by
    points = [
        (10, 0.98),  # nobody: the best gain
        (12, 0.97),  # 0: cheaper and better
        (4, 0.95),  # nobody
        (4, 0.93),  # 2: same cost, better
        (2, 0.95),  # nobody; it beats 2 by cost at the same gain
        (1, 0.50),  # nobody: the cheapest
    ]
    assert pareto_front(points) == [5, 4, 0]


def test_none_one_and_equal_points():
    assert pareto_front([]) == []
    assert pareto_front([(1, 1)]) == [0]
    assert pareto_front([(1, 1), (1, 1)]) == [0]


def test_agrees_with_comparing_every_pair():
    draw = random.Random(0)
    for _ in range(200):
        points = [(draw.randrange(8), draw.randrange(8)) for _ in range(draw.randrange(1, 12))]
        unbeaten = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
        front = [points[i] for i in pareto_front(points)]
        assert set(front) == unbeaten and len(front) == len(unbeaten) and front == sorted(front)
