from pathlib import Path

import numpy as np
import pytest

from prunelle.errors import SettingError
from prunelle.measure.latency import Timing
from prunelle.recipes import measure
from prunelle.recipes.measure import measure_model, open_with_data


def test_another_input_than_the_datas_images_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "small.npz"
    np.savez(data, images=np.zeros((40, 8, 8), np.uint8), labels=np.arange(40) % 10)
    opened, task = open_with_data("lenet_300_100", str(data), None, "cpu", input_shape=(1, 8, 8))
    assert task is not None and opened.input_shape == task.input_shape == (1, 8, 8)
    with pytest.raises(SettingError, match=r"--input 1,28,28: small has images of 1,8,8; leave it out."):
        open_with_data("lenet_300_100", str(data), None, "cpu", input_shape=(1, 28, 28))


def test_sixteen_bits_are_fitted_to_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="needs prunelle[demo]")
    monkeypatch.setattr(measure, "time_interleaved", lambda fns, **_: [Timing(1, 1, 1, 1, 1, 1, 5, 1) for _ in fns])
    card = measure_model("lenet5_small", runtime="native16", data="digits")
    assert card.latency_ms is not None and (card.latency_ms.runtime, card.latency_ms.baseline) == ("native16", "eager")
    with pytest.raises(SettingError, match=r"^lenet5_small: native16 is fitted to images; pass --data\.$"):
        measure_model("lenet5_small", runtime="native16")
