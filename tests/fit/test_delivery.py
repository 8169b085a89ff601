"""Files of a tiny network, made and measured; the timer looks for a moment only."""

import math
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import CLASSES, SHAPE, small_task, state_of
from torch import nn

from prunelle.errors import DiskError, SettingError, WeightsError
from prunelle.fit import delivery
from prunelle.fit.candidates import ZEROS, Candidate, Cut
from prunelle.fit.delivery import Bench, deliver, scores_of, subject_of
from prunelle.fit.entry import Entry
from prunelle.fit.networks import Brought
from prunelle.graph.cuts import Cuts
from prunelle.models.save import Builder
from prunelle.prune.masks import zero_
from prunelle.ship.eager import eager
from prunelle.ship.images import calibration, timed_images
from prunelle.ship.shipped import open_shipped, read_shipped
from prunelle.ship.sizes import dense_bytes

pytestmark = pytest.mark.usefixtures("one_thread")

LENET = Builder(spec="lenet_300_100", input_shape=list(SHAPE), num_classes=CLASSES)
WEIGHTS = 72 * 300 + 300 * 100 + 100 * CLASSES
PARAMS = WEIGHTS + 300 + 100 + CLASSES


def sparse_net() -> nn.Module:
    """LeNet-300-100 of which each layer keeps its first tenth of the rows' weights."""
    torch.manual_seed(0)
    model = LENET.make().eval()
    weights = {name: value for name, value in model.named_parameters() if value.ndim == 2}
    zero_(weights, {name: torch.arange(w.shape[1]).expand_as(w) % 10 == 0 for name, w in weights.items()})
    return model


def brought(model: nn.Module, builder: Builder | None = LENET) -> Brought:
    return Brought(model, builder, Cuts(), "0" * 64)


def bench(model: nn.Module, tmp_path: Path) -> Bench:
    task = small_task()
    images = timed_images(task, task.input_shape, 1, 0)
    return Bench(
        task,
        eager(model, images[0], 1),
        images,
        calibration(task, 0),
        scores_of(model, task.val, task),
        dense_bytes(model, tmp_path),
        "mine",
        "small",
        {"min_seconds": 0.005, "min_samples": 30},
    )


def made(candidate: Candidate, model: nn.Module, tmp_path: Path, builder: Builder | None = LENET) -> Entry:
    told = bench(model, tmp_path)
    return deliver(candidate, subject_of(brought(model, builder), told.task), told, tmp_path / "file")


FORMATS = {"native": ".so", "onnx": ".onnx", "packed": ".prn", "packed-native": ".prn"}


@pytest.mark.parametrize("name", FORMATS)
def test_figures_are_those_of_the_file(tmp_path, name):
    if name == "onnx":
        pytest.importorskip("onnxruntime", reason="needs prunelle[onnx]")
    model = sparse_net()
    one = Candidate((Cut(ZEROS, 0.9),), (), name, "fp32")
    entry = made(one, model, tmp_path)
    assert (entry.status, entry.why) == ("fit", "")
    task = small_task()
    images, labels = next(task.val.epoch(24))
    assert entry.val_top1 == float((model(images).argmax(1) == labels).double().mean())
    assert (entry.drop, entry.drop_error) == (0.0, 0.0)
    assert entry.params == PARAMS
    assert entry.nnz == 8 * 300 + 30 * 100 + 10 * CLASSES + sum(int((b != 0).sum()) for b in biases(model))
    files = [path for path in (tmp_path / "file").iterdir() if path.suffix == FORMATS[name]]
    assert entry.size_bytes == sum(os.stat(path).st_size for path in files) > 0
    assert 0 < entry.median_ms <= entry.p95_ms <= entry.p99_ms and entry.num_samples >= 30
    assert entry.reference_ms > 0
    assert 0 < entry.share_low <= entry.share <= entry.share_high
    assert not entry.final and entry.seconds > 0
    run, found = open_shipped(tmp_path / "file", trust=True)
    assert torch.allclose(run(images), model(images), atol=1e-4)
    assert (found.model, found.data, found.format) == ("mine", "small", name)
    assert Candidate.from_json(found.asked["fit"]) == one
    assert found.parity is not None and found.parity.where == "validation split" and found.parity.num_images == 24


def biases(model: nn.Module) -> list[torch.Tensor]:
    return [value for value in model.parameters() if value.ndim == 1]


def test_points_lost_and_their_error_come_from_the_images_whose_scores_differ(tmp_path):
    """The dense network is right on all 24, the candidate on 18: 25 points; the differences are 18 zeros and 6 ones, so
    their deviation is sqrt(1/4 * 3/4), over sqrt(24)."""
    model = sparse_net()
    task = small_task()
    images, labels = next(task.val.epoch(24))
    right = model(images).argmax(1) == labels
    told = bench(model, tmp_path)
    dense = right.double().clone()
    wrong = torch.arange(24)[~right][:6]
    assert len(wrong) == 6
    dense[wrong] = 1.0
    told = replace(told, dense_scores=dense)
    one = Candidate((), (), "packed", "fp32")
    entry = deliver(one, subject_of(brought(model), task), told, tmp_path / "file")
    assert entry.drop == pytest.approx(25.0)
    assert entry.drop_error == pytest.approx(100 * math.sqrt(0.25 * 0.75 / 24))


def test_a_final_one_is_timed_as_results_are_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "RESULT", {"min_seconds": 0.01, "min_samples": 77})
    model = sparse_net()
    told = bench(model, tmp_path)
    subject = subject_of(brought(model), told.task)
    entry = deliver(Candidate((), (), "packed", "fp32"), subject, told, tmp_path / "file", final=True)
    assert entry.final and entry.num_samples >= 77


def test_the_gate_s_refusal_is_told(tmp_path):
    """The dense network packed is not smaller than as safetensors; nothing is left to be opened."""
    torch.manual_seed(0)
    entry = made(
        Candidate((), (), "packed", "fp32"), nn.Sequential(nn.Flatten(), nn.Linear(72, CLASSES)).eval(), tmp_path, None
    )
    assert entry.status == "refused" and "it must be smaller; it is not shipped" in entry.why
    assert (entry.size_bytes, entry.median_ms, entry.val_top1) == (0, 0.0, 0.0) and entry.seconds > 0
    assert not (tmp_path / "file" / "ship.json").exists()


@pytest.mark.parametrize("name", ["native", "onnx", "packed", "packed-native"])
def test_a_network_of_nan_is_refused_or_fails_and_says_why(tmp_path, name):
    if name == "onnx":
        pytest.importorskip("onnxruntime", reason="needs prunelle[onnx]")
    model = sparse_net()
    with torch.no_grad():
        model.fc2.bias[3] = math.nan
    good = sparse_net()
    told = bench(good, tmp_path)
    entry = deliver(Candidate((), (), name, "fp32"), subject_of(brought(model), told.task), told, tmp_path / "file")
    assert entry.status in ("refused", "failed") and "NaN" in entry.why
    assert not (tmp_path / "file" / "ship.json").exists()


def test_a_format_that_is_not_installed_is_absent(tmp_path, monkeypatch):
    monkeypatch.setattr("prunelle.ship.candidates.find_spec", lambda package: None)
    entry = made(Candidate((), (), "onnx", "fp32"), sparse_net(), tmp_path)
    assert entry.status == "absent" and "pip install 'prunelle[onnx]'" in entry.why


def test_what_another_library_throws_is_told(tmp_path, monkeypatch):
    def broken(*_args, **_more):
        raise RuntimeError("out of luck\nand more")

    monkeypatch.setattr("prunelle.fit.delivery.opened", broken)
    entry = made(Candidate((), (), "packed", "fp32"), sparse_net(), tmp_path)
    assert entry.status == "failed" and "could not be made (RuntimeError: out of luck)" in entry.why


def test_a_full_disk_is_no_fault_of_the_candidate(tmp_path, monkeypatch):
    def full(*_args, **_more):
        raise DiskError("x: could not be written.")

    monkeypatch.setattr("prunelle.fit.delivery.opened", full)
    with pytest.raises(DiskError, match="could not be written"):
        made(Candidate((), (), "packed", "fp32"), sparse_net(), tmp_path)


def test_a_metric_that_is_nan_for_the_file_refuses_it(tmp_path):
    model = sparse_net()
    told = bench(model, tmp_path)
    subject = subject_of(brought(model), told.task)
    told = replace(told, task=replace(told.task, metric=lambda outputs, targets: torch.full((len(targets),), math.nan)))
    entry = deliver(Candidate((), (), "packed", "fp32"), subject, told, tmp_path / "file")
    assert entry.status == "refused" and "the metric gives NaN or infinity for some images" in entry.why


@pytest.mark.parametrize(
    ("value", "given"), [(lambda n: torch.tensor(0.5), "()"), (lambda n: torch.full((n,), math.nan), "(24,)")]
)
def test_a_metric_gives_one_finite_value_an_image(value, given):
    task = replace(small_task(), metric=lambda outputs, targets: value(len(targets)))
    with pytest.raises(SettingError, match=rf"small: the metric gives {re.escape(given)} for 24 images, must be one"):
        scores_of(sparse_net(), task.val, task)


def test_a_dense_network_of_nan_is_refused():
    model = sparse_net()
    with torch.no_grad():
        model.fc2.bias[3] = math.nan
    with pytest.raises(WeightsError, match="small: the network gives NaN or infinity for some images; train it again"):
        scores_of(model, small_task().val, small_task())


def test_a_file_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    model = sparse_net()
    monkeypatch.setattr("prunelle.fit.delivery.opened", lambda *_args: lambda images: 1.01 * model(images).detach())
    entry = made(Candidate((), (), "packed", "fp32"), model, tmp_path)
    assert entry.status == "refused" and "off by" in entry.why


def test_the_network_stays_as_it_was(tmp_path):
    model = sparse_net()
    before = state_of(model)
    made(Candidate((), (), "native", "int16"), model, tmp_path)
    assert all(torch.equal(before[name], value) for name, value in state_of(model).items())


def test_what_is_shipped_was_read_on_the_validation_split_alone(tmp_path, monkeypatch):
    told = bench(sparse_net(), tmp_path)

    def forbidden(*_args, **_more):
        raise AssertionError("the test split was read")

    test = replace(told.task.test)
    object.__setattr__(test, "epoch", forbidden)
    told = replace(told, task=replace(told.task, test=test))
    subject = subject_of(brought(sparse_net()), told.task)
    entry = deliver(Candidate((), (), "packed", "fp32"), subject, told, tmp_path / "file")
    assert entry.fit and read_shipped(tmp_path / "file").parity.where == "validation split"
