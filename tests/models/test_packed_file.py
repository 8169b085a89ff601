"""The packed file as a whole: what goes in comes out, and only that."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as dense_file
from tiny import conv_net, same_bits, seeded, state_of
from torch import nn

from prunelle.data.task import Preprocessing
from prunelle.errors import CorruptFileError, ModelError, PrunelleError, SettingError, WeightsError
from prunelle.graph.cuts import Cuts
from prunelle.models.lenet import lenet_300_100
from prunelle.models.open import open_model
from prunelle.models.packed import container
from prunelle.models.packed.header import FIXED
from prunelle.models.packed.magic import is_packed
from prunelle.models.packed.model import load_packed, read_packed, to_bytes
from prunelle.models.save import Builder

pytestmark = pytest.mark.usefixtures("one_thread")

LENET = Builder(spec="lenet_300_100", input_shape=[1, 8, 8], num_classes=10)


def pruned(kept: float = 0.05, values: int = 8) -> nn.Module:
    """lenet_300_100 on 8x8 images; of its weights a share is kept, on a few values."""
    model = LENET.make()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in (model.fc1.weight, model.fc2.weight, model.fc3.weight):
            weight.copy_(on_values(values, kept, weight.shape, draw))
    return model


def on_values(values: int, kept: float, shape: tuple[int, ...], draw: torch.Generator) -> torch.Tensor:
    """A share of random numbers from a table of `values`, the others 0."""
    numbers = torch.randn(values, generator=draw).half().float()[torch.randint(values, shape, generator=draw)]
    return numbers.masked_fill(torch.rand(shape, generator=draw) >= kept, 0.0)


def put(path: Path, model: nn.Module, **about) -> Path:
    path.write_bytes(to_bytes(model, **about))
    return path


def test_a_packed_model_opens_bit_for_bit(tmp_path):
    model, scaling = pruned(), Preprocessing((0.5,), (0.25,))
    names = tuple("0123456789")
    path = put(tmp_path / "m.prn", model, builder=LENET, preprocessing=scaling, class_names=names)
    opened = open_model(str(path))
    assert same_bits(state_of(opened.model), state_of(model)) and not opened.model.training
    assert (opened.builder, opened.preprocessing, opened.class_names) == (LENET, scaling, names)
    assert opened.input_shape == (1, 8, 8) and opened.cuts == Cuts()


def test_it_is_as_small_as_its_entropy_says(tmp_path):
    """50,200 weights of which 5 % are kept on 8 values: 0.286 + 0.05 * 3 bits each, 410 biases of 4 bytes."""
    size = put(tmp_path / "m.prn", pruned(), builder=LENET).stat().st_size
    assert size < 1.08 * (50_200 * 0.436 / 8) + 410 * 4 + 500


def test_a_dense_model_of_its_own_module_comes_back_too(tmp_path):
    model = conv_net()
    path = put(tmp_path / "m.prn", model)
    assert same_bits(state_of(load_packed(path, seeded(conv_net, 1))), state_of(model))
    with pytest.raises(ModelError, match="pass that module"):
        open_model(str(path))
    with pytest.raises(WeightsError, match="and absent in the module"):
        load_packed(path, lenet_300_100())


def test_tied_tensors_are_stored_once(tmp_path):
    def tied() -> nn.Module:
        model = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 40))
        model[2].weight = model[0].weight
        return model

    model = tied()
    path = put(tmp_path / "m.prn", model)
    back = load_packed(path, tied())
    assert same_bits(state_of(back), state_of(model)) and back[2].weight is back[0].weight
    assert path.stat().st_size < 40 * 40 * 4 * 1.1


def test_types_of_all_kinds(tmp_path):
    tensors = {
        "half": torch.randn(9, 9).half() * (torch.rand(9, 9) > 0.8),
        "double": torch.randn(30, 3, 2, dtype=torch.float64),
        "count": torch.tensor(7),
        "flags": torch.tensor([True, False]),
        "none": torch.empty(0, 4),
        "zeros": torch.zeros(50, 50),
        "row": torch.zeros(50),
    }
    raw = container.encode(tensors, {"a": 1})
    about, found = container.decode(raw, "x", lambda about, outlines: None)
    assert about == {"a": 1} and same_bits(found, tensors)


def test_large_tensors_go_in_lanes_near_their_entropy():
    draw = torch.Generator().manual_seed(0)
    large = on_values(16, 0.1, (1200, 2000), draw)
    tensors = {"large": large, "small": large[:20, :20].clone()}
    raw = container.encode(tensors, {})
    _, found = container.decode(raw, "x", lambda about, outlines: None)
    assert same_bits(found, tensors)
    # 0.469 + 0.1 * 4 bits an element, a twentieth more for the lanes and tables.
    assert len(raw) < 1.05 * large.numel() * 0.869 / 8
    header, _ = container.open_header(raw)
    assert {line.name: line.coder for line in header.tensors} == {"large": "lanes", "small": "mixing"}


def test_what_opens_can_be_told_from_what_does_not(tmp_path):
    path = put(tmp_path / "m.prn", pruned(), builder=LENET)
    (tmp_path / "other").write_bytes(dense_file({"a": torch.zeros(3)}))
    (tmp_path / "empty").write_bytes(b"")
    assert is_packed(path) and is_packed(str(path))
    assert not any(map(is_packed, (tmp_path, tmp_path / "other", tmp_path / "empty", tmp_path / "absent", "lenet5")))
    with pytest.raises(SettingError, match="has weights of its own"):
        open_model(str(path), weights="w.pth")


def resealed(raw: bytes) -> bytes:
    """The first hash computed anew, as an attacker would."""
    return raw[:10] + hashlib.sha256(raw[42:]).digest() + raw[42:]


def changed(raw: bytes, **fields) -> bytes:
    """The first tensor's line or, for `about`, the model's with other values, sealed again."""
    header, body = container.open_header(raw)
    values = header.model_dump()
    (values["about"] if "builder" in fields else values["tensors"][0]).update(fields)
    packed = container.deflate(container.to_json(values).encode())
    return resealed(raw[: FIXED - 4] + len(packed).to_bytes(4, "little") + packed + body)


REFUSED = {
    "flip": (lambda raw: raw[:900] + bytes([raw[900] ^ 1]) + raw[901:], "do not match its own SHA-256"),
    "cut": (lambda raw: raw[:-1], "do not match its own SHA-256"),
    "cut in the hash": (lambda raw: raw[:30], "is no file that prunelle packed"),
    "longer": (lambda raw: raw + b"\0", "do not match its own SHA-256"),
    "version": (lambda raw: raw[:8] + b"\2\0" + raw[10:], "is of version 2, this program reads 1; update it"),
    "weights": (lambda raw: resealed(raw[:-2000] + bytes([raw[-2000] ^ 1]) + raw[-1999:]), "take a fresh copy"),
    "content hash": (lambda raw: resealed(raw[:42] + bytes(32) + raw[74:]), "the weights are not those that were"),
    "header length": (lambda raw: resealed(raw[:74] + b"\xff" * 4 + raw[78:]), "its header is longer than the file"),
    "header": (lambda raw: resealed(raw[:78] + bytes(10) + raw[88:]), "a part "),
    "shape": (lambda raw: changed(raw, shape=[300, 65]), r"fc1.weight is \(300, 65\) in the file"),
    "huge shape": (lambda raw: changed(raw, shape=[2**30, 2**30]), "too much for a file of"),
    "negative shape": (lambda raw: changed(raw, shape=[-1, 2]), "greater than or equal to 0"),
    "type": (lambda raw: changed(raw, dtype="object"), "is 'object' stored as"),
    "integers as floats": (lambda raw: changed(raw, dtype="int64"), "is 'int64' stored as 'float16'; that is refused"),
    "kind": (lambda raw: changed(raw, kind="plain"), "has codes or has none"),
    "codes": (lambda raw: changed(raw, num_codes=9), "take a fresh copy"),
    "bytes": (lambda raw: changed(raw, bytes=2**31), "the codes of 'fc1.weight' are longer than the file"),
    "name": (lambda raw: changed(raw, name="fc2.weight"), "a tensor comes twice"),
    "stride": (lambda raw: changed(raw, stride=2**20), "has a stride of 1048576"),
    "many empty rows": (lambda raw: changed(raw, shape=[2**31, 0]), "too much for a file of"),
    "control characters": (lambda raw: changed(raw, name="a\x1b[2J"), "has no name to print"),
    "builder of no name": (
        lambda raw: changed(raw, builder=LENET.model_dump() | {"spec": "x"}),
        "'x': no model of this name",
    ),
    "unknown key": (lambda raw: changed(raw, **{"a\nb": 1}), r"'tensors.0.a\\nb'"),
    "builder": (lambda raw: changed(raw, builder={"spec": "lenet5"}), "builder"),
    "grid": (lambda raw: changed(raw, kind="grid"), "must have"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_damage_is_refused_in_one_sentence(how, tmp_path):
    change, said = REFUSED[how]
    path = tmp_path / "m.prn"
    path.write_bytes(change(to_bytes(pruned(), builder=LENET)))
    with pytest.raises(PrunelleError, match=said) as caught:
        read_packed(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{path}: ")
    assert caught.value.exit_code == 2


def test_a_state_that_is_no_tensor_is_refused():
    class Odd(nn.Linear):
        def get_extra_state(self) -> dict:
            return {"a": 1}

        def set_extra_state(self, state: object) -> None:
            pass

    with pytest.raises(ModelError, match="only tensors can be packed"):
        to_bytes(Odd(2, 2))


def test_an_error_of_the_file_is_of_the_right_class(tmp_path):
    path = tmp_path / "m.prn"
    with pytest.raises(CorruptFileError, match="cannot be read"):
        read_packed(path)
