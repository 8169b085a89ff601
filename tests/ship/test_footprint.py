import sys

import pytest
from torch import nn

from prunelle.errors import MeasurementError
from prunelle.models.lenet import lenet5
from prunelle.models.save import Builder, save
from prunelle.ship.footprint import peak_memory_of_folder

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be set back on Linux only")
def test_a_larger_batch_needs_more(tmp_path):
    save(lenet5(), tmp_path / "net", builder=Builder(spec="lenet5", input_shape=[1, 28, 28], num_classes=10))
    one, many = (peak_memory_of_folder(tmp_path / "net", batch) for batch in (1, 2048))
    assert one > 64 * MIB
    assert many - one > 2048 * 20 * 24 * 24 * 4  # the first layer's activations


def test_a_folder_that_cannot_be_loaded_is_said(tmp_path):
    save(nn.Linear(2, 2), tmp_path / "net")
    with pytest.raises(MeasurementError, match="the child process ended with code 1"):
        peak_memory_of_folder(tmp_path / "net")
