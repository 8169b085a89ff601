import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from prunelle.errors import WeightsError
from prunelle.models.load import build
from prunelle.models.weights import fit_weights_, read_weights


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".th"])
def test_written_and_read_weights_are_equal(tmp_path, suffix):
    source, target = build("resnet20"), build("resnet20")
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save(source.state_dict(), path)
    fit_weights_(target, read_weights(path), str(path))
    assert same(snapshot(source), snapshot(target))


@pytest.mark.parametrize("key", ["state_dict", "model", "net"])
def test_wrapped_and_parallel_weights_are_unwrapped(tmp_path, key):
    path = tmp_path / "w.pth"
    state = {f"module.{name}": value for name, value in nn.Linear(2, 3).state_dict().items()}
    torch.save({key: state, "epoch": 3}, path)
    assert set(read_weights(path)) == {"weight", "bias"}


def test_a_module_called_module_keeps_its_name(tmp_path):
    torch.save({"module.weight": torch.ones(1), "bias": torch.ones(1)}, tmp_path / "w.pt")
    assert set(read_weights(tmp_path / "w.pt")) == {"module.weight", "bias"}


@pytest.mark.parametrize(
    ("name", "changes"),
    [("resnet20", {"linear.": "fc."}), ("resnet18_cifar", {"fc.": "linear.", ".downsample.": ".shortcut."})],
)
def test_published_names_are_mapped(name, changes):
    source, target = build(name), build(name)
    renamed = {}
    for key, value in source.state_dict().items():
        for ours, theirs in changes.items():
            key = key.replace(ours, theirs)
        renamed[key] = value
    fit_weights_(target, renamed, "w.pth")
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_batch_counters_are_ignored_on_both_sides():
    source, target = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    state = {name: value + 1 for name, value in source.state_dict().items()}
    fit_weights_(target, state, "w")
    assert target.num_batches_tracked == 0
    assert target.state_dict()["running_mean"].tolist() == [1, 1, 1]
    fit_weights_(target, {name: value for name, value in state.items() if "num_batches" not in name}, "w")


def test_half_precision_is_converted():
    target = nn.Linear(2, 2)
    fit_weights_(target, {name: value.half() for name, value in nn.Linear(2, 2).state_dict().items()}, "w")
    assert target.weight.dtype == torch.float32


def refused(model, weights, message):
    before = snapshot(model)
    with pytest.raises(WeightsError, match=message) as caught:
        fit_weights_(model, weights, "w.pth")
    assert "\n" not in str(caught.value)
    assert same(before, snapshot(model)), "a refused file must leave the model as it was"


def test_another_networks_weights_are_refused_in_one_sentence():
    refused(
        build("lenet5"),
        build("alexnet_cifar").state_dict(),
        r"^w.pth: does not fit the model: 8 of 8 tensors missing, 16 unexpected, 0 of another shape, "
        r"first the file lacks conv1.weight \(20, 1, 5, 5\); pass the weights of this very model",
    )


def test_another_number_of_classes_is_refused_with_both_shapes():
    refused(
        build("lenet5"),
        build("lenet5", num_classes=3).state_dict(),
        r"0 of 8 tensors missing, 0 unexpected, 2 of another shape, "
        r"first fc2.weight is \(3, 500\) in the file and \(10, 500\) in the model",
    )


def test_one_tensor_too_many_is_refused():
    state = dict(nn.Linear(2, 2).state_dict(), extra=torch.ones(1))
    refused(nn.Linear(2, 2), state, "0 of 2 tensors missing, 1 unexpected, 0 of another shape, first the model has no")
    twice = dict(build("resnet20").state_dict())
    twice["fc.weight"] = twice["linear.weight"]
    refused(build("resnet20"), twice, "1 unexpected.*no fc.weight")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    state = nn.Linear(2, 2).state_dict()
    state["bias"] = torch.tensor([0.0, value])
    refused(nn.Linear(2, 2), state, "bias holds NaN or infinity")


def test_a_value_that_overflows_in_the_models_dtype_is_refused():
    state = dict(nn.Linear(2, 2).state_dict(), bias=torch.tensor([0.0, 1e300], dtype=torch.float64))
    refused(nn.Linear(2, 2), state, r"bias holds NaN or infinity as torch.float32")


@pytest.mark.parametrize(
    "bias",
    [
        torch.ones(2, dtype=torch.int64),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2).to_sparse(),
        torch.ones(2, device="meta"),
    ],
)
def test_tensors_of_another_kind_are_refused(bias):
    refused(nn.Linear(2, 2), dict(nn.Linear(2, 2).state_dict(), bias=bias), "bias is .* must be a dense torch.float32")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def hostile_files(folder: Path) -> list[Path]:
    mark = folder / "boom"
    files = {
        "pickle.pth": pickle.dumps(Bomb(mark)),
        "empty.pth": b"",
        "empty.safetensors": b"",
        "text.pt": b"hello",
        "huge_header.safetensors": (2**60).to_bytes(8, "little") + b"{}",
        "bad_json.safetensors": (4).to_bytes(8, "little") + b"{{{{",
        "overflow.safetensors": _header(b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}'),
        "outside.safetensors": _header(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    torch.save({"state_dict": Bomb(mark)}, folder / "bomb.pth")
    torch.save(nn.Linear(2, 2), folder / "whole_model.pth")
    torch.save([1, 2], folder / "list.pth")
    torch.save({}, folder / "nothing.pth")
    torch.save({"a": 3}, folder / "number.pth")
    torch.save({3: torch.ones(1)}, folder / "key.pth")
    whole = io.BytesIO()
    torch.save(nn.Linear(20, 20).state_dict(), whole)
    (folder / "short.pth").write_bytes(whole.getvalue()[:-300])
    with zipfile.ZipFile(folder / "zip.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(mark)))
    return sorted(path for path in folder.iterdir() if path.is_file())


def _header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


def test_hostile_and_damaged_files_are_refused_and_run_nothing(tmp_path):
    for path in hostile_files(tmp_path):
        with pytest.raises(WeightsError) as caught:
            read_weights(path)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert not (tmp_path / "boom").exists()


def test_files_that_are_missing_or_of_another_kind(tmp_path):
    with pytest.raises(WeightsError, match="there is no such file"):
        read_weights(tmp_path / "no.pth")
    with pytest.raises(WeightsError, match=r"weights are read from .safetensors, .pth"):
        read_weights(tmp_path / "w.h5")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(WeightsError, match="there is no such file"):
        read_weights(tmp_path / "folder.pth")


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "correct"), [("resnet20", 1833), ("resnet44", 1866)])
def test_published_weights_score_what_was_published(weights_dir, cifar10_dir, name, correct):
    """On the first 2,000 test images; on all 10,000 it is 9,173 and 9,310."""
    model = build(name).eval()
    path = weights_dir / f"cifar10_{name}.safetensors"
    fit_weights_(model, read_weights(path), str(path))
    stored = np.fromfile(cifar10_dir / "cifar-10-batches-bin" / "test_batch.bin", dtype=np.uint8).reshape(-1, 3073)
    targets = torch.from_numpy(stored[:, 0].astype(np.int64))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    hits = 0
    with torch.no_grad():
        for first in range(0, 2_000, 500):
            images = torch.from_numpy(stored[first : first + 500, 1:]).view(-1, 3, 32, 32).float() / 255
            hits += int((model((images - mean) / std).argmax(1) == targets[first : first + 500]).sum())
    assert abs(hits - correct) <= 3, "a few images lie so close to a border that rounding decides"
