import pytest
import torch
from torch import nn

from prunelle.errors import MeasurementError, SettingError
from prunelle.ship import native_runtime
from prunelle.ship.native import Native
from prunelle.ship.native_runtime import native, native16

IMAGES = torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def small() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)]
    return nn.Sequential(*layers).eval()


def test_the_runtime_times_its_kernels_and_is_the_network() -> None:
    run = native(small(), IMAGES, 1)
    assert isinstance(run, Native) and run.record["precision"] == "fp32"
    with torch.inference_mode():
        assert (run(IMAGES) - small()(IMAGES)).abs().max() <= 1e-5


def test_sixteen_bits_are_near_and_no_more() -> None:
    run = native16(small(), IMAGES, 1)
    with torch.inference_mode():
        off = (run(IMAGES) - small()(IMAGES)).abs().max()
    assert run.record["precision"] == "int16" and 1e-6 < off < 1e-3


def test_its_size_is_the_library_s() -> None:
    run = native(small(), IMAGES, 1)
    assert run.size_bytes is not None and 4 * (72 + 4 + 192 + 3) < run.size_bytes < 100_000


def test_what_is_not_the_network_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(model: nn.Module, example: torch.Tensor, precision: str) -> object:
        return lambda images: 1.1 * model(images).detach()

    monkeypatch.setattr(native_runtime, "built", other)
    for runtime, allowed in ((native, "0.0001"), (native16, "0.05")):
        with pytest.raises(MeasurementError, match=f"runtime {runtime.__name__}: .* at most {allowed} of that"):
            runtime(small(), IMAGES, 1)


def test_images_elsewhere_are_refused() -> None:
    with pytest.raises(SettingError, match="runtime native16: the example is on meta"):
        native16(small(), IMAGES.to("meta"), 1)
