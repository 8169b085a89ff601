import shutil

import pytest
import torch
from torch import Tensor, nn

from prunelle.errors import SettingError
from prunelle.ship.names import FITTED, RUNTIMES
from prunelle.ship.runtimes import PLACES, load_runtime

NEEDS = {"eager": [], "compile": [], "onnxruntime": ["onnx", "onnxscript", "onnxruntime"], "openvino": ["openvino"]}
NEEDS |= {"native": [], "native16": []}


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8)
    norm.running_mean = torch.randn(8)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm, nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 5)
    )


@pytest.fixture(params=RUNTIMES)
def name(request) -> str:
    for module in NEEDS[request.param]:
        pytest.importorskip(module)
    if request.param in ("compile", "native", "native16") and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler")
    return request.param


def test_every_word_has_a_place():
    assert tuple(PLACES) == RUNTIMES == tuple(NEEDS)


def test_an_unknown_word_is_refused_with_the_known_ones():
    with pytest.raises(
        SettingError, match="there is no 'onnx', the words are eager, compile, onnxruntime, openvino, native, native16"
    ):
        load_runtime("onnx")


def test_gives_the_model_s_outputs_at_two_batch_sizes_and_leaves_the_model_alone(name):
    model, images = small_net().train(), torch.randn(3, 3, 8, 8)
    threads, state = torch.get_num_threads(), {key: value.clone() for key, value in model.state_dict().items()}
    fitted = name in FITTED
    run = load_runtime(name)(model, images if fitted else images[:1], 1)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.get_num_threads() == threads
    with torch.no_grad():
        expected = model.eval()(images)
    off = {"atol": 1e-2, "rtol": 0.0} if fitted else {"atol": 1e-5, "rtol": 1e-4}
    for batch in (1, 3):
        torch.testing.assert_close(run(images[:batch]), expected[:batch], **off)


def test_an_output_outlives_the_next_call(name):
    run = load_runtime(name)(small_net(), torch.randn(2, 3, 8, 8), 1)
    first: Tensor = run(torch.zeros(2, 3, 8, 8))
    kept = first.clone()
    run(torch.ones(2, 3, 8, 8))
    assert torch.equal(first, kept)


def test_what_happens_to_the_model_later_changes_nothing(name):
    model, images = small_net(), torch.randn(2, 3, 8, 8)
    run = load_runtime(name)(model, images, 1)
    before = run(images).clone()
    with torch.no_grad():
        nn.init.zeros_(model[0].weight)  # type: ignore[arg-type]
    assert torch.equal(run(images), before)
