import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prunelle.errors import CorruptFileError, MissingExtraError, SettingError, WorkError
from prunelle.ship.openvino import BIN, HINTS, XML, open_openvino, openvino, program, to_openvino, write_openvino


class Branching(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


def test_what_cannot_be_converted_is_one_sentence():
    pytest.importorskip("openvino")
    with pytest.raises(WorkError, match=r"^openvino: Branching could not be converted \(.*\); take another runtime\.$"):
        openvino(Branching(), torch.ones(2, 3), 1)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'prunelle\[openvino\]'"):
        openvino(nn.Linear(2, 2), torch.zeros(1, 2), 1)


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(32 * 16, 10)
    ).eval()


@pytest.mark.parametrize(("precision", "bytes_each", "off"), [("fp32", 4, 1e-5), ("bf16", 2, 0.05), ("int8", 1, 0.15)])
def test_written_and_opened_again_it_gives_the_outputs_of_the_model(precision, bytes_each, off, tmp_path, capfd):
    pytest.importorskip("openvino")
    if precision == "int8":
        pytest.importorskip("nncf")
    net, images = small_net(), torch.randn(20, 3, 8, 8)
    write_openvino(net, images[:1], tmp_path, precision, images if precision == "int8" else None)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((XML, BIN))
    weights = 32 * 27 + 32 * 32 * 9 + 32 * 160
    assert bytes_each * weights <= (tmp_path / BIN).stat().st_size < bytes_each * weights + 1500
    run, wanted = open_openvino(tmp_path, 1, precision), net(images).detach()
    for batch in (20, 1):
        assert float((run(images[:batch]) - wanted[:batch]).abs().max()) < off * float(wanted.abs().max())
    assert capfd.readouterr() == ("", "")


def test_fp32_is_fp32_also_where_the_cpu_has_bf16():
    pytest.importorskip("openvino")
    net, images = small_net(), torch.randn(4, 3, 8, 8)
    assert float((openvino(net, images, 1)(images) - net(images).detach()).abs().max()) < 1e-5


def test_running_leaves_the_network_free_for_other_batch_sizes():
    pytest.importorskip("openvino")
    network = to_openvino(nn.Linear(2, 2), torch.zeros(1, 2))
    assert program(network, 1)(torch.zeros(3, 2)).shape == (3, 2)
    assert network.input(0).partial_shape[0].is_dynamic


@pytest.mark.parametrize(
    "call", [lambda p: openvino(nn.Identity(), torch.zeros(1), 1, p), lambda p: open_openvino(Path(), 1, p)]
)
def test_an_unknown_precision_is_refused(call):
    with pytest.raises(SettingError, match="there is no precision 'int4', the words are fp32, bf16, int8"):
        call("int4")
    assert list(HINTS) == ["fp32", "bf16", "int8"]


def test_int8_without_images_is_refused():
    with pytest.raises(SettingError, match="int8 is fitted to images; pass calibration images"):
        to_openvino(nn.Linear(2, 2), torch.zeros(1, 2), "int8")


def test_files_that_cannot_be_read_are_refused(tmp_path):
    pytest.importorskip("openvino")
    with pytest.raises(CorruptFileError, match=r"model\.xml: cannot be read"):
        open_openvino(tmp_path, 1)
    write_openvino(nn.Linear(2, 2), torch.zeros(1, 2), tmp_path)
    (tmp_path / XML).write_bytes((tmp_path / XML).read_bytes()[:500])
    with pytest.raises(CorruptFileError, match=r"model\.xml: cannot be read \(.*\); ship it anew\.$"):
        open_openvino(tmp_path, 1)
