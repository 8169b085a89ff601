"""The 1,797 real 8x8 digits inside scikit-learn: the default that needs no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (its test part).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prunelle.data.arrays import Arrays, ArraySet
from prunelle.data.names import Source
from prunelle.data.task import Preprocessing
from prunelle.errors import MissingExtraError

SIZES = (1_197, 200, 400)


def read_digits(source: Source, files: Mapping[str, Path], split_seed: int) -> ArraySet:
    """Images (N, 1, 8, 8) uint8 in 0..16; 1,197 / 200 / 400 examples, every class in proportion.

    Raises MissingExtraError without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError(
            "digits: comes with scikit-learn; install it with: pip install prunelle[demo]"
        ) from None
    bunch = load_digits()
    whole = Arrays(bunch.images.astype(np.uint8)[:, None], bunch.target.astype(np.int64))
    train, val, test = whole.cut(SIZES, split_seed)
    scaling = Preprocessing(mean=(0.3053,), std=(0.3760,), value_range=(0.0, 16.0))
    return ArraySet(source.name, train, val, test, scaling, source.class_names)
