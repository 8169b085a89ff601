from pathlib import Path

import pytest
import torch
from tiny import same_bits, state_of

from prunelle.errors import LimitError
from prunelle.models.open import open_model
from prunelle.models.save import Builder, save
from prunelle.ship.packed import pack_saved, write_packed

LENET = Builder(spec="lenet_300_100", input_shape=[1, 8, 8], num_classes=10)


def test_a_saved_folder_becomes_one_small_file(tmp_path):
    model = LENET.make()
    with torch.no_grad():
        model.fc1.weight.mul_(0).add_(torch.eye(300, 64) / 2)
    save(model, tmp_path / "saved", builder=LENET)
    size = pack_saved(tmp_path / "saved", tmp_path / "m.prn")
    opened = open_model(str(tmp_path / "m.prn"))
    assert size == (tmp_path / "m.prn").stat().st_size < 31_000 * 4 + 3_000
    assert same_bits(state_of(opened.model), state_of(model)) and opened.builder == LENET
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.prn", "saved"]


def test_a_file_that_is_not_smaller_is_refused_and_not_written(tmp_path):
    """A bias of eight random numbers cannot pay for the header."""
    with pytest.raises(LimitError, match=r"m.prn: is \d+ bytes and the dense safetensors \d+, it must be smaller"):
        write_packed(torch.nn.Linear(1, 8), tmp_path / "m.prn")
    assert list(Path(tmp_path).iterdir()) == []
