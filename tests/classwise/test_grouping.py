"""classwise/grouping.py: which classes go together."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

from prunelle.classwise.activity import cosine_similarity
from prunelle.classwise.grouping import (
    check_groups,
    climb_,
    consecutive,
    dissimilar,
    first_centres,
    kmeans,
    placed,
    random,
    similar,
    sizes,
    spread,
    within,
)
from prunelle.errors import SettingError
from prunelle.models.members import Groups

ALL = {"consecutive": consecutive, "random": random, "similar": similar, "dissimilar": dissimilar, "kmeans": kmeans}


def features_of(num: int, seed: int, dims: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, dims))


def grouped(word: str, features: np.ndarray, num: int, seed: int = 0) -> Groups:
    return ALL[word](cosine_similarity(features), features, num, np.random.default_rng(seed))


def every(classes: tuple[int, ...], parts: list[int]) -> Iterator[Groups]:
    """All ways to deal classes out to groups of these sizes; some come several times."""
    if not parts:
        yield ()
        return
    for first in combinations(classes, parts[0]):
        left = tuple(c for c in classes if c not in first)
        for others in every(left, parts[1:]):
            yield (first, *others)


def alike(similarity: np.ndarray, groups: Groups) -> float:
    """The plain sum over pairs in one group."""
    return sum(similarity[i, j] for group in groups for i in group for j in group if i != j)


@pytest.mark.parametrize("word", ALL)
@pytest.mark.parametrize("num, parts", [(10, 2), (10, 3), (10, 10), (7, 4), (5, 5), (2, 2), (100, 7)])
def test_groups_hold_each_class_once_and_are_equal(word, num, parts):
    groups = grouped(word, features_of(num, 1), parts)
    assert len(groups) == parts and sorted(c for group in groups for c in group) == list(range(num))
    lengths = sorted(map(len, groups))
    assert lengths[-1] - lengths[0] <= 1 and lengths == sorted(sizes(num, parts))
    assert groups == tuple(sorted(tuple(sorted(group)) for group in groups))
    assert all(type(c) is int for group in groups for c in group)


@pytest.mark.parametrize("word", ALL)
def test_the_same_seed_gives_the_same_groups_and_nothing_given_changes(word):
    features = features_of(12, 3)
    similarity = cosine_similarity(features)
    before = features.copy(), similarity.copy()
    found = [ALL[word](similarity, features, 3, np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert found[0] == found[1]
    assert np.array_equal(features, before[0]) and np.array_equal(similarity, before[1])
    if word == "random":
        assert found[0] != found[2]


def test_a_random_grouping_is_blind_and_even():
    """Whether classes 0 and 1 meet: 3 places of 7 others."""
    met = 0
    for seed in range(400):
        groups = grouped("random", np.zeros((8, 2)), 2, seed)
        met += any({0, 1} <= set(group) for group in groups)
    assert 130 < met < 215  # 171 expected, standard deviation 10


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("num, parts", [(8, 2), (7, 2), (8, 4), (7, 3), (6, 6)])
def test_similar_and_dissimilar_are_the_best_of_all(num, parts, seed):
    features = features_of(num, seed)
    similarity = cosine_similarity(features)
    values = [alike(similarity, groups) for groups in every(tuple(range(num)), sizes(num, parts))]
    assert alike(similarity, grouped("similar", features, parts)) == pytest.approx(max(values))
    assert alike(similarity, grouped("dissimilar", features, parts)) == pytest.approx(min(values))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("num, parts", [(8, 2), (7, 2), (8, 4)])
def test_kmeans_is_the_best_of_all_where_there_are_clusters_and_close_to_it_elsewhere(num, parts, seed):
    noise = features_of(num, seed)
    which = np.random.default_rng(seed).permutation(np.repeat(np.arange(parts), sizes(num, parts)))
    clusters = noise * 0.3 + 3 * np.eye(parts, 6)[which]
    for features, slack in ((clusters, 1 + 1e-9), (noise, 1.1)):
        least = min(spread(features, groups) for groups in every(tuple(range(num)), sizes(num, parts)))
        assert least - 1e-9 <= spread(features, grouped("kmeans", features, parts)) <= slack * least
    assert grouped("kmeans", clusters, parts) == tuple(
        sorted(tuple(int(c) for c in np.flatnonzero(which == part)) for part in range(parts))
    )


def test_places_go_out_in_the_order_of_regret():
    """All four are nearer to the first group, which has two places: those that would lose most by leaving have them."""
    far = np.array([[0.0, 1.0], [0.0, 5.0], [0.0, 2.0], [0.0, 9.0]])
    assert placed(far, [2, 2]).tolist() == [1, 0, 1, 0]


def test_a_place_more_is_where_it_serves():
    far = np.array([[0.0, 10.0], [1.0, 2.0], [0.0, 3.0]])
    assert placed(far, [2, 1]).tolist() == [0, 1, 0]
    assert placed(far[:, ::-1], [2, 1]).tolist() == [1, 0, 1]


def test_a_full_group_no_longer_counts_as_the_next_best():
    """Once group 0 is full, class 1 regrets 8 (9 - 1) and class 2 regrets 1, so class 1 chooses first."""
    far = np.array([[0.0, 50.0, 50.0], [0.5, 1.0, 9.0], [0.1, 2.0, 3.0]])
    assert placed(far, [1, 1, 1]).tolist() == [0, 1, 2]


def test_equal_classes_are_still_dealt_out():
    for word in ALL:
        assert sorted(map(len, grouped(word, np.ones((6, 3)), 3))) == [2, 2, 2]
    assert len(first_centres(np.ones((4, 2)), 3, np.random.default_rng(0))) == 3


def test_the_sums_by_hand():
    similarity = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, -1.0], [0.0, -1.0, 1.0]])
    assert within(similarity, np.array([0, 0, 1])) == 3 + 2 * 0.5
    assert within(similarity, np.array([0, 1, 1])) == 3 + 2 * -1.0
    assert spread(np.array([[0.0], [2.0], [5.0]]), ((0, 1), (2,))) == 2.0


def test_climbing_ends_where_no_swap_gains_and_never_goes_down():
    similarity = cosine_similarity(features_of(10, 4))
    which = np.array([0, 1] * 5)
    before = within(similarity, which)
    climb_(which, similarity)
    best = within(similarity, which)
    assert best > before and which.sum() == 5
    for i in range(10):
        for j in range(10):
            other = which.copy()
            other[i], other[j] = other[j], other[i]
            assert within(similarity, other) <= best + 1e-9


@pytest.mark.parametrize("num", [-1, 0, 1, 11])
def test_numbers_of_groups_that_cannot_be(num):
    with pytest.raises(SettingError, match=rf"^--groups {num}: must be 2 to 10, the number of classes\.$"):
        check_groups(num, 10)
    check_groups(2, 10)
    check_groups(10, 10)
