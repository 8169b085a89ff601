"""Which classes go together: pure functions from a similarity of classes, or their features, to equal groups.

Every grouping is `(similarity, features, num_groups, generator) -> groups`; sizes differ by one at most. Groups and
the classes in them come in ascending order, so that equal groupings are equal values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from prunelle.classwise.activity import Similarity
from prunelle.errors import SettingError
from prunelle.models.members import Groups

Grouping = Callable[[Similarity, NDArray[np.float64], int, np.random.Generator], Groups]
ROUNDS = 100
STARTS = 8


def consecutive(
    similarity: Similarity, features: NDArray[np.float64], num_groups: int, generator: np.random.Generator
) -> Groups:
    """In the order of the class numbers, blind to both.

    >>> consecutive(np.eye(5), np.eye(5), 2, np.random.default_rng(0))
    ((0, 1, 2), (3, 4))
    """
    return in_order(np.array_split(np.arange(len(similarity)), num_groups))


def random(
    similarity: Similarity, features: NDArray[np.float64], num_groups: int, generator: np.random.Generator
) -> Groups:
    """Drawn, blind to both: the control."""
    return in_order(np.array_split(generator.permutation(len(similarity)), num_groups))


def similar(
    similarity: Similarity, features: NDArray[np.float64], num_groups: int, generator: np.random.Generator
) -> Groups:
    """Classes that are alike together: the sum of similarities within groups as large as swapping two classes can
    make it, the best of some random starts."""
    return swapped(similarity, num_groups, generator)


def dissimilar(
    similarity: Similarity, features: NDArray[np.float64], num_groups: int, generator: np.random.Generator
) -> Groups:
    """Classes that are alike apart, as `similar` puts them together."""
    return swapped(-similarity, num_groups, generator)


def kmeans(
    similarity: Similarity, features: NDArray[np.float64], num_groups: int, generator: np.random.Generator
) -> Groups:
    """Balanced k-means of class features (classes, d): equal groups around their means, the best of some starts.

    Starts by k-means++ (Arthur 2007). In each round places are given out in the order of regret, how much farther a
    class has to the next best group than to its nearest one that is not full, until nothing changes.
    """
    found = [clustered(features, num_groups, generator) for _ in range(STARTS)]
    return min(found, key=lambda groups: (round(spread(features, groups), 9), groups))


def check_groups(num_groups: int, num_classes: int) -> None:
    """Raises SettingError for fewer than two groups, or more than classes."""
    if not 2 <= num_groups <= num_classes:
        raise SettingError(f"--groups {num_groups}: must be 2 to {num_classes}, the number of classes.")


def in_order(groups: Iterable[Sequence[int] | NDArray]) -> Groups:
    return tuple(sorted(tuple(sorted(int(number) for number in group)) for group in groups))


def sizes(num_classes: int, num_groups: int) -> list[int]:
    """As equal as can be, the larger ones first."""
    return [len(part) for part in np.array_split(np.arange(num_classes), num_groups)]


def within(similarity: Similarity, which: NDArray[np.int64]) -> float:
    """The sum of similarities of all pairs in one group. which: (classes,) the group of each."""
    return float(similarity[which[:, None] == which[None, :]].sum())


def swapped(similarity: Similarity, num_groups: int, generator: np.random.Generator) -> Groups:
    """The grouping with the largest `within` that swaps of two classes lead to."""
    best, best_value = None, -np.inf
    for _ in range(STARTS):
        which = np.repeat(np.arange(num_groups), sizes(len(similarity), num_groups))
        which = which[generator.permutation(len(which))]
        climb_(which, similarity)
        value = within(similarity, which)
        if value > best_value + 1e-9:
            best, best_value = which.copy(), value
    assert best is not None
    return in_order([np.flatnonzero(best == group) for group in range(num_groups)])


def climb_(which: NDArray[np.int64], similarity: Similarity) -> None:
    """Swap the two classes that gain most, in place, while any do."""
    alike = similarity - np.diag(np.diag(similarity))
    for _ in range(ROUNDS * len(which)):
        member = which[:, None] == np.arange(which.max() + 1)[None, :]
        tied = alike @ member  # (classes, groups) similarity to everyone in each group
        own = tied[np.arange(len(which)), which]
        gain = tied[:, which] + tied[:, which].T - own[:, None] - own[None, :] - 2 * alike
        gain[which[:, None] == which[None, :]] = -np.inf
        first, second = np.unravel_index(np.argmax(gain), gain.shape)
        if gain[first, second] <= 1e-12:
            return
        which[first], which[second] = which[second], which[first]


def clustered(features: NDArray[np.float64], num_groups: int, generator: np.random.Generator) -> Groups:
    """One run of balanced k-means."""
    centres = first_centres(features, num_groups, generator)
    before: Groups | None = None
    for _ in range(ROUNDS):
        which = placed(distances(features, centres), sizes(len(features), num_groups))
        groups = in_order([np.flatnonzero(which == group) for group in range(num_groups)])
        if groups == before:
            break
        before = groups
        centres = np.stack([features[list(group)].mean(0) for group in groups])
    assert before is not None
    return before


def first_centres(features: NDArray[np.float64], num: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """k-means++: each drawn with a chance that grows with the square of its distance to those before."""
    chosen = [int(generator.integers(len(features)))]
    while len(chosen) < num:
        near = distances(features, features[chosen]).min(1)
        near[chosen] = 0.0
        left = [number for number in range(len(features)) if number not in chosen]
        total = near.sum()
        chosen.append(int(generator.choice(len(near), p=near / total)) if total > 0 else left[0])
    return features[chosen]


def distances(features: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """(classes, centres) squared."""
    return ((features[:, None] - centres[None]) ** 2).sum(2)


def placed(far: NDArray[np.float64], places: Sequence[int]) -> NDArray[np.int64]:
    """(classes,) the group of each, never more in one than it has places. far: (classes, groups).

    Whoever would lose most by being turned away goes first. A place more goes to whom it serves: groups of one size
    larger are filled as they come.
    """
    which = np.full(len(far), -1)
    smallest, num_larger = min(places), sum(size > min(places) for size in places)
    count = np.zeros(far.shape[1], dtype=np.int64)
    while (which < 0).any():
        room = np.where((count > smallest).sum() < num_larger, smallest + 1, smallest)
        open_ = count < room
        masked = np.where(open_[None, :], far, np.inf)
        ordered = np.sort(masked, axis=1)
        regret = ordered[:, 1] - ordered[:, 0] if open_.sum() > 1 else -ordered[:, 0]
        regret[which >= 0] = -np.inf
        next_ = int(np.argmax(regret))
        group = int(np.argmin(masked[next_]))
        which[next_] = group
        count[group] += 1
    return which


def spread(features: NDArray[np.float64], groups: Groups) -> float:
    """Sum of squared distances to the means of the groups."""
    return float(sum(((features[list(g)] - features[list(g)].mean(0)) ** 2).sum() for g in groups))
