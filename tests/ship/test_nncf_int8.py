import sys

import pytest
import torch
from torch import nn

from prunelle.errors import MissingExtraError, SettingError
from prunelle.ship.nncf_int8 import quantized
from prunelle.ship.openvino import program, to_openvino


@pytest.fixture
def needed():
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")


def test_weights_become_codes_of_a_scale_for_each_output_channel(needed):
    net = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.27, 0.0], [0.25, -0.5]]))
    calibration = torch.stack((torch.linspace(0, 2.55, 64), torch.full((64,), 2.55)), 1)  # the largest of each is met
    network = to_openvino(net, torch.zeros(1, 2))
    made = quantized(network, calibration)
    constants = [one for one in made.get_ops() if one.get_type_name() == "Constant"]
    codes = [one.data.tolist() for one in constants if one.get_element_type().get_type_name() == "i8"]
    assert len(codes) == 1 and codes[0][0] == [127, 0] and codes[0][1][1] == -127 and codes[0][1][0] in (63, 64)
    assert not any(one.get_type_name() == "FakeQuantize" for one in network.get_ops())  # the one given stays float
    found = program(made, 1, "int8")(torch.tensor([[0.5, 2.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.635, -0.875]]), atol=0.05, rtol=0)


def test_without_images_it_is_refused():
    with pytest.raises(SettingError, match="there are none; pass some hundred"):
        quantized(None, torch.zeros(0, 2))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"^nncf is not installed; pip install 'prunelle\[openvino\]'\.$"):
        quantized(None, torch.zeros(1, 2))
