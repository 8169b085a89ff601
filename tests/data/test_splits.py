import hashlib

import numpy as np
import pytest

from prunelle.data.splits import deal, stratified, three_sizes
from prunelle.errors import DataError

LABELS = np.arange(1000) % 7


def test_the_split_never_changes() -> None:
    """Pinned: another result here would silently mix train and test of every model saved so far."""
    train, val, test = stratified(LABELS, (700, 100, 200), seed=0)
    assert val[:5].tolist() == [5, 8, 23, 25, 28]
    assert test[:5].tolist() == [0, 3, 4, 9, 12]
    digest = hashlib.sha256(np.concatenate([train, val, test]).astype("<i8").tobytes()).hexdigest()
    assert digest == "321a7f30e5119fd07de907ffee47f477994f3e2fee68e40fbb5567260982d9fb"


def test_every_class_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [10, 300, 90])
    parts = stratified(labels, (200, 80, 120), seed=3)
    assert sorted(np.concatenate(parts)) == list(range(400))
    for part, size in zip(parts, (200, 80, 120), strict=True):
        assert len(part) == size and (np.diff(part) > 0).all()
        assert np.abs(np.bincount(labels[part]) - np.array([10, 300, 90]) * size / 400).max() <= 2


def test_seeds_differ_and_agree() -> None:
    one, two, other = (stratified(LABELS, (900, 100), seed)[1] for seed in (0, 0, 1))
    assert (one == two).all() and (one != other).any()


def test_too_few_examples() -> None:
    with pytest.raises(DataError, match=r"2 examples cannot be split into \(0, 1, 1\); add examples"):
        stratified(np.array([0, 1]), three_sizes(2), seed=0)


def test_parts_of_a_folder() -> None:
    """20 and 6: a tenth of 20 is cut from train; the other part is the test."""
    train, other = np.arange(20) % 2, np.arange(6) % 2
    dealt = deal({"train": train, "test": other}, 0)
    assert [(part, len(indices)) for part, indices in dealt] == [("train", 18), ("train", 2), ("test", 6)]
    assert sorted(np.concatenate([dealt[0][1], dealt[1][1]])) == list(range(20))
    three = deal({"train": train, "val": other, "test": other}, 0)
    assert [(part, indices.tolist()) for part, indices in three[1:]] == [("val", [*range(6)]), ("test", [*range(6)])]
    whole = deal({"all": train}, 0)
    assert [(part, len(indices)) for part, indices in whole] == [("all", 14), ("all", 2), ("all", 4)]
