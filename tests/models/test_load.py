import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from prunelle.errors import MissingExtraError, ModelError, UntrustedCodeError
from prunelle.models import timm_zoo
from prunelle.models.load import build, default_shape


def needs_timm():
    if find_spec("timm") is None:
        pytest.skip("the vision extra is not installed")


def write(tmp_path, text):
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\n" + text)
    return f"{file}:make"


def test_a_name_builds_with_its_defaults_and_with_others():
    assert build("lenet5")(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    assert build("lenet5", input_shape=(3, 32, 32), num_classes=4)(torch.zeros(2, 3, 32, 32)).shape == (2, 4)


def test_default_shapes():
    assert default_shape("resnet50") == (3, 224, 224)
    assert default_shape("lenet5") == (1, 28, 28)


def test_a_factory_without_arguments(tmp_path):
    spec = write(tmp_path, "def make():\n    return nn.Linear(3, 2)\n")
    model = build(spec, input_shape=(1, 1, 3), num_classes=9, trust=True)
    assert isinstance(model, nn.Linear) and model.out_features == 2
    assert default_shape(spec) is None
    assert not (tmp_path / "__pycache__").exists()


def test_a_factory_is_handed_what_its_signature_names(tmp_path):
    spec = write(tmp_path, "def make(num_classes=5, input_shape=(1, 1, 2)):\n"
                           "    return nn.Linear(input_shape[2], num_classes)\n")  # fmt: skip
    assert build(spec, num_classes=9, trust=True).weight.shape == (9, 2)
    assert build(spec, input_shape=(1, 1, 4), trust=True).weight.shape == (5, 4)


def test_a_file_may_import_its_neighbour_and_leaves_no_path_behind(tmp_path):
    (tmp_path / "neighbour_of_net.py").write_text("SIZE = 3\n")
    spec = write(tmp_path, "from neighbour_of_net import SIZE\ndef make():\n    return nn.Linear(SIZE, 1)\n")
    assert build(spec, trust=True).in_features == 3
    assert str(tmp_path) not in sys.path


def test_a_file_is_read_again_after_a_change(tmp_path):
    assert build(write(tmp_path, "def make():\n    return nn.Linear(3, 2)\n"), trust=True).out_features == 2
    assert build(write(tmp_path, "def make():\n    return nn.Linear(3, 4)\n"), trust=True).out_features == 4


def test_without_trust_no_code_is_run(tmp_path):
    mark = tmp_path / "ran"
    spec = write(tmp_path, f"open({str(mark)!r}, 'w')\ndef make():\n    return nn.Linear(1, 1)\n")
    with pytest.raises(UntrustedCodeError, match="pass --trust if you trust that file"):
        build(spec)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def mak():\n    pass\n", "has no function 'make', did you mean 'mak'"),
        ("make = 3\n", "has no function 'make'; it has none"),
        ("def make():\n    raise ValueError('no\\nmore')\n", "the factory raised ValueError: no; correct it"),
        ("def make():\n    raise SystemExit(3)\n", "the factory raised SystemExit: 3"),
        ("def make(size):\n    pass\n", "the factory raised TypeError: make.. missing 1 required"),
        ("def make():\n    return 3\n", "the factory returned a int, must be a torch.nn.Module"),
        ("def make(:\n", "running the file raised SyntaxError"),
        ("import no_such_module_anywhere\n", "running the file raised ModuleNotFoundError"),
        ("raise SystemExit\n", "running the file raised SystemExit"),
    ],
)
def test_mistakes_in_a_users_file_are_one_sentence(tmp_path, text, message):
    with pytest.raises(ModelError, match=message) as caught:
        build(write(tmp_path, text), trust=True)
    assert "\n" not in str(caught.value)


def test_timm_builds_any_shape():
    needs_timm()
    model = build("timm:test_vit", input_shape=(1, 64, 64), num_classes=3)
    assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 3)
    assert build("timm:test_resnet", input_shape=(1, 48, 64))(torch.zeros(2, 1, 48, 64)).shape == (2, 1000)
    assert default_shape("timm:test_vit") == (3, 160, 160)


def test_timm_refusals():
    needs_timm()
    with pytest.raises(ModelError, match="has no model of this name, did you mean 'resnet18'"):
        build("timm:resnet18O")
    with pytest.raises(ModelError, match="has no model of this name"):
        build("timm:hf-hub:someone/something")
    with pytest.raises(ModelError, match="timm cannot build it with"):
        build("timm:gcvit_xxtiny", input_shape=(3, 17, 17))


def test_a_timm_that_cannot_be_imported_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match=r"cannot be imported .*pip install prunelle\[vision\]"):
        timm_zoo.build_timm("resnet18")
