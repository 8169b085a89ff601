import sys

import pytest
import torch
from torch import Tensor, nn

from prunelle.errors import MissingExtraError, SettingError, WorkError
from prunelle.ship.onnx import CALIBRATION_BATCH, onnxruntime, quantized_onnx, session, to_onnx


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


def int8_tensors(file: bytes) -> list[list]:
    """The int8 tensors of an ONNX file, as nested lists."""
    onnx = pytest.importorskip("onnx")
    stored = onnx.load_from_string(file).graph.initializer
    return [onnx.numpy_helper.to_array(one).tolist() for one in stored if one.data_type == onnx.TensorProto.INT8]


def test_int8_weights_are_codes_of_a_scale_for_each_output_channel():
    pytest.importorskip("onnxruntime")
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.27, 0.0], [0.25, -0.5]]))
        net.bias.zero_()
    calibration = torch.linspace(0, 2.55, 2 * 2 * CALIBRATION_BATCH + 2).view(-1, 2)  # the last batch is short
    file = quantized_onnx(net, torch.zeros(1, 2), calibration)
    codes = [[127, 0], [64, -127]]  # 0.25 is 63.5 steps of 0.5 / 127, and halves go to the even code
    assert int8_tensors(file) in ([codes], [[list(row) for row in zip(*codes, strict=True)]])
    found = session(file, 1)(torch.tensor([[0.5, 0.6], [0.0, 0.0], [9.9, 9.9]]))
    wanted = torch.tensor([[0.635, -0.175], [0.0, 0.0], [3.2385, -0.6375]])  # what is beyond 2.55 stays there
    torch.testing.assert_close(found, wanted, atol=0.06, rtol=0)
    assert torch.equal(found[1], torch.zeros(2))


def test_an_int8_file_keeps_no_float_weights(capfd):
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.Flatten())
    net = nn.Sequential(net, nn.Linear(64 * 16, 10)).eval()
    images = torch.randn(40, 3, 8, 8)
    file, whole = quantized_onnx(net, images[:1], images), to_onnx(net, images[:1])
    pytest.importorskip("onnx").checker.check_model(file, full_check=True)
    weights = 64 * 27 + 64 * 64 * 9 + 64 * 160
    assert weights < len(file) < weights + 4000 < 0.31 * len(whole)
    run, wanted = session(file, 1), session(whole, 1)(images)
    assert float((run(images) - wanted).abs().max()) < 0.05 * float(wanted.abs().max())
    assert torch.equal(run(images), run(images.contiguous(memory_format=torch.channels_last)))
    assert capfd.readouterr() == ("", "")


def test_int8_without_images_is_refused():
    with pytest.raises(SettingError, match=r"^onnx: int8 is fitted to images and there are none; pass some hundred\.$"):
        quantized_onnx(nn.Linear(2, 2), torch.zeros(1, 2), torch.zeros(0, 2))


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
