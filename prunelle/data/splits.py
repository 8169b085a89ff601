"""Which example belongs to which part. The answer never changes for a seed, on any machine or version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from prunelle.data.names import WHOLE
from prunelle.errors import DataError
from prunelle.seeds import derive

MOST_VAL = 10_000


def stratified(labels: np.ndarray, sizes: Sequence[int], seed: int) -> list[np.ndarray]:
    """Deal examples into parts of the given sizes, every class in proportion (to within 2 examples a part).

    labels: (N,) integers >= 0. sizes: lengths that sum to N, each at least 1.
    Returns one ascending int64 index array a part; together they hold 0..N-1 once.
    Raises DataError when a part would be empty. numpy promises RandomState's stream for good (NEP 19).
    """
    if sum(sizes) != len(labels) or min(sizes) < 1:
        raise DataError(f"{len(labels)} examples cannot be split into {tuple(sizes)}; add examples.")
    order = np.random.RandomState(divmod(derive(seed, "split"), 2**32)).permutation(len(labels))
    shuffled = labels[order]
    counts = np.bincount(shuffled)
    by_class = np.argsort(shuffled, kind="stable")
    rank = np.empty(len(labels))
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    quantile = (rank + 0.5) / counts[shuffled]
    dealt = order[np.argsort(quantile, kind="stable")].astype(np.int64)
    return [np.sort(part) for part in np.split(dealt, np.cumsum(sizes)[:-1])]


def val_size(num: int, most: int = 5_000) -> int:
    """How many of `num` training examples are held out where a set has no validation part: a tenth, at most `most`.

    >>> val_size(60_000), val_size(50_000), val_size(8)
    (5000, 5000, 1)
    """
    return max(1, min(num // 10, most))


def three_sizes(num: int) -> tuple[int, int, int]:
    """train, val and test lengths where a set has no official test: a fifth is test, a tenth is val.

    >>> three_sizes(100)
    (70, 10, 20)
    """
    val, test = max(1, num // 10), max(1, num // 5)
    return num - val - test, val, test


def deal(stored: Mapping[str, np.ndarray], seed: int) -> list[tuple[str, np.ndarray]]:
    """train, val and test of a folder, each as (stored part, ascending indices into it).

    stored: labels (N,) of train and of val, test or both; or of WHOLE alone, which is split 7 : 1 : 2. With one
    official part beside train that part is the test, and val is cut from train: a tenth, at most MOST_VAL.
    Raises DataError when a part would be empty.
    """
    if WHOLE in stored:
        labels = stored[WHOLE]
        return [(WHOLE, indices) for indices in stratified(labels, three_sizes(len(labels)), seed)]
    dealt = [(part, np.arange(len(labels))) for part, labels in stored.items()]
    if len(stored) == 2:
        num, num_val = len(stored["train"]), val_size(len(stored["train"]), MOST_VAL)
        dealt[:1] = [("train", indices) for indices in stratified(stored["train"], (num - num_val, num_val), seed)]
    return dealt
