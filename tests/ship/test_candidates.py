from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prunelle.errors import LimitError, MissingExtraError, WorkError
from prunelle.ship import candidates, formats
from prunelle.ship.candidates import check_installed, make, make_all
from prunelle.ship.formats import Format, Order
from prunelle.ship.gate import exam_on_noise
from prunelle.ship.names import FORMATS, PRECISIONS

IMAGE = torch.zeros(1, 3, 2, 2)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4))


def fake(run, size: int = 10) -> Format:
    """A format whose file is `size` zeros and whose runtime is `run`."""
    return Format(lambda order, folder: (folder / "f").write_bytes(bytes(size)) and None, lambda *_: run, "fake", ("",))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, Format]:
    """Every format a fake that is the model itself; a test replaces what it needs broken."""
    found = {name: fake(net().requires_grad_(False)) for name in FORMATS}
    monkeypatch.setattr(formats, "TABLE", found)
    return found


def order(precision: str = "fp32") -> Order:
    return Order(net(), IMAGE, precision)


def test_every_word_has_a_format_and_a_precision():
    assert tuple(formats.TABLE) == FORMATS == tuple(PRECISIONS)


def test_a_candidate_knows_its_bytes_and_its_parity(table, tmp_path):
    found = make("onnx", order(), tmp_path / "a", exam_on_noise(net(), (3, 2, 2)), 1, dense_bytes=5)
    assert (found.name, found.status, found.size_bytes) == ("onnx fp32", "fit", 10)
    assert found.parity is not None and found.parity.error == 0 and found.row()["parity"]["equal"] == 1


def nan(images: Tensor) -> Tensor:
    return torch.full((len(images), 4), float("nan"))


BROKEN = {
    "nan": (nan, "give NaN or infinity"),
    "constant": (lambda images: torch.ones(len(images), 4), "a constant"),
    "shifted": (lambda images: net()(images).detach() + 0.01, "off by"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_runtime_is_refused_alone_and_is_a_row_among_others(kind, table, tmp_path):
    run, said = BROKEN[kind]
    table["onnx"] = fake(run)
    exam = exam_on_noise(net(), (3, 2, 2))
    with pytest.raises(LimitError, match=said):
        make("onnx", order(), tmp_path / "a", exam, 1, 100)
    rows = {one.name: one for one in make_all(order(), tmp_path, exam, 1, 100)}
    assert rows["onnx fp32"].status == "refused" and said in rows["onnx fp32"].why
    assert rows["openvino fp32"].status == rows["native fp32"].status == "fit"
    assert rows["onnx int8"].status == "absent" and "pass --data" in rows["onnx int8"].why
    assert not any(name.startswith("packed") for name in rows)


def test_what_is_to_be_small_is_refused_where_it_is_not(table, tmp_path):
    exam = exam_on_noise(net(), (3, 2, 2))
    with pytest.raises(LimitError, match="packed fp32: is 10 bytes and the dense safetensors 10, it must be smaller"):
        make("packed", order(), tmp_path / "a", exam, 1, dense_bytes=10)
    assert make("packed", order(), tmp_path / "b", exam, 1, dense_bytes=11).size_bytes == 10


def test_another_library_s_error_is_one_sentence(table, tmp_path):
    def fails(order: Order, folder: Path) -> None:
        raise RuntimeError("no such operator\nsecond line")

    table["onnx"] = Format(fails, lambda *_: nan, "fake", ("",))
    exam = exam_on_noise(net(), (3, 2, 2))
    with pytest.raises(
        WorkError, match=r"^onnx fp32: could not be made \(RuntimeError: no such operator\); take another format\.$"
    ):
        make("onnx", order(), tmp_path / "a", exam, 1, 100)
    assert next(one for one in make_all(order(), tmp_path, exam, 1, 100) if one.format == "onnx").status == "failed"


def test_only_one_precision_is_made_when_asked(table, tmp_path):
    exam = exam_on_noise(net(), (3, 2, 2))
    found = [one.name for one in make_all(order(), tmp_path, exam, 1, 100, "fp32")]
    assert found == ["native fp32", "onnx fp32", "openvino fp32", "pt2 fp32"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(candidates, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=r"^onnx: onnx, onnxscript, onnxruntime not installed; pip install 'prunelle\[onnx\]'"
    ):
        check_installed("onnx")
    check_installed("pt2")
