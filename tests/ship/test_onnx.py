import sys

import pytest
import torch
from torch import Tensor, nn

from prunelle.errors import MissingExtraError, SettingError, WorkError
from prunelle.ship.onnx import onnxruntime, session, to_onnx


class Branching(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


def test_the_file_holds_the_weights_and_not_the_paths_of_this_machine(capfd):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    net = nn.Sequential(nn.Flatten(), nn.Linear(300, 100))
    file = to_onnx(net, torch.zeros(1, 3, 10, 10))
    proto = onnx.load_from_string(file)
    onnx.checker.check_model(proto)
    assert 4 * 30_100 < len(file) < 4 * 30_100 + 4000
    assert b".py" not in file
    assert [value.name for value in (*proto.graph.input, *proto.graph.output)] == ["images", "outputs"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert capfd.readouterr() == ("", "")


def test_a_saved_file_runs_at_any_batch_size():
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    net = nn.Linear(4, 2)
    run = session(to_onnx(net, torch.zeros(1, 4)), threads=1)
    images = torch.randn(5, 4)
    torch.testing.assert_close(run(images), net(images).detach())


def test_what_cannot_be_exported_is_one_sentence():
    pytest.importorskip("onnxscript")
    with pytest.raises(WorkError, match=r"^onnx: Branching could not be exported \(.*\); take another runtime\.$"):
        to_onnx(Branching(), torch.ones(2, 3))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'prunelle\[onnx\]'"):
        onnxruntime(nn.Linear(2, 2), torch.zeros(1, 2), 1)


def test_an_example_elsewhere_is_refused():
    with pytest.raises(SettingError, match="the example is on meta, this runtime reads CPU memory"):
        to_onnx(nn.Linear(2, 2), torch.zeros(1, 2, device="meta"))
