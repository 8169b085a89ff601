import numpy as np
import pytest

from prunelle.graph.ties import Ties, connected


def plain_components(size: int, pairs: list[tuple[int, int]]) -> list[int]:
    """Depth-first search, the slow way."""
    neighbours: dict[int, set[int]] = {i: set() for i in range(size)}
    for a, b in pairs:
        neighbours[a].add(b)
        neighbours[b].add(a)
    root = [-1] * size
    for start in range(size):
        stack = [start] if root[start] < 0 else []
        while stack:
            here = stack.pop()
            if root[here] < 0:
                root[here] = start
                stack += neighbours[here]
    return root


@pytest.mark.parametrize("seed", range(20))
def test_components_are_those_of_a_depth_first_search(seed: int) -> None:
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 60))
    joins = [
        (generator.integers(0, size, n), generator.integers(0, size, n))
        for n in generator.integers(0, 12, generator.integers(0, 6))
    ]
    pairs = [pair for a, b in joins for pair in zip(a.tolist(), b.tolist(), strict=True)]
    assert connected(size, joins).tolist() == plain_components(size, pairs)


def test_a_long_chain_is_one_component() -> None:
    chain = np.arange(10_000)
    assert not connected(10_000, [(chain[:-1], chain[1:])]).any()


def test_what_is_beside_a_fixed_index_is_pinned_with_the_reason() -> None:
    ties = Ties()
    a, b = ties.fresh(3), ties.fresh(3)
    ties.join(a, b, "added")
    ties.join(b, np.array([0, 0, ties.fresh(1)[0]]), "beside something fixed")
    found = ties.components()
    assert found.units(a).tolist() == [0, 0, 3]
    assert found.reasons[1] == ["beside something fixed"]


def test_units_of_nothing_joined_are_the_labels_themselves() -> None:
    ties = Ties()
    labels = ties.fresh(4)
    assert ties.components().units(labels).tolist() == labels.tolist()
