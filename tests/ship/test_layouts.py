"""Images and models whose channels lie innermost give the right answers in every runtime."""

import shutil

import pytest
import torch
from torch import Tensor, nn

from prunelle.ship.names import FITTED, RUNTIMES
from prunelle.ship.runtimes import load_runtime

NEEDS = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}


class Viewing(nn.Module):
    """Batch norm and a flatten: what is read in the wrong order gives another output."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 2))
        self.head = nn.Linear(4 * 25, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).flatten(1))


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    for module in NEEDS.get(request.param, ()):
        pytest.importorskip(module)
    if request.param == "compile" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler")
    return request.param


@pytest.mark.parametrize("model_layout", [torch.channels_last, torch.contiguous_format])
def test_any_layout_gives_the_same_outputs(runtime, model_layout):
    if runtime == "compile" and model_layout is torch.contiguous_format:
        pytest.skip("each layout is compiled anew, for seconds; the other one is tried")
    torch.manual_seed(0)
    net, images = Viewing().eval(), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        wanted = net(images)
    net = net.to(memory_format=model_layout)
    turned = images.contiguous(memory_format=torch.channels_last)
    sliced = torch.randn(4, 3, 8, 16)[..., ::2].copy_(images)
    run = load_runtime(runtime)(net, turned, 1)
    near = {"atol": 2e-2, "rtol": 0.0} if runtime in FITTED else {"atol": 1e-5, "rtol": 1e-4}
    for given in (images, turned, sliced):
        torch.testing.assert_close(run(given), wanted, **near)
    assert net.features[0].weight.is_contiguous(memory_format=model_layout)
