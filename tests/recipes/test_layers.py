from pathlib import Path

import pytest
import torch
from torch import nn

from prunelle.recipes.layers import filled, layer_rows
from prunelle.recipes.shipping import Asked, subject
from prunelle.ship import native, native_profile


def half_zero() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(4, 4))
    with torch.no_grad():
        for weight in (net[0].weight, net[1].weight):
            weight.copy_(torch.arange(weight.numel()).reshape(weight.shape) % 2)
    return net


def test_a_filled_copy_has_no_zeros_and_keeps_the_rest() -> None:
    net = half_zero()
    full = filled(net)
    for before, after in zip(net.parameters(), full.parameters(), strict=True):
        if before.ndim > 1:
            assert int((before == 0).sum()) == before.numel() // 2 and bool((after != 0).all())
        assert torch.equal(after[before != 0], before[before != 0])


def test_measured_beside_theoretical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[Path, int]] = []

    def build(model: nn.Module, example: object, folder: Path, **_: object) -> None:
        built.append((folder, sum(int((p == 0).sum()) for p in model.parameters() if p.ndim > 1)))

    def profile(folder: Path, image: torch.Tensor, calls: int) -> list[tuple[str, str, float, int, int]]:
        assert image.shape == (1, 1, 28, 28)
        dense = folder == tmp_path / "dense"
        return [
            ("conv1", "conv", 6.0 if dense else 2.0, 1000, 1000 if dense else 100),
            ("pool", "pool", 1.0, 0, 0),
            ("conv1", "expand", 4.0 if dense else 8.0, 0, 0),
            ("conv1", "conv dense" if dense else "conv sparse", 3.0, 10, 10),
            ("new", "x", 1.0, 5, 5),
        ][: 4 if dense else 5]

    monkeypatch.setattr(native, "build_native", build)
    monkeypatch.setattr(native_profile, "profile_native", profile)
    what = subject(Asked("lenet5", "native"), None, False)
    conv, pool, expand, again, new = layer_rows(what, tmp_path / "made", tmp_path, "native")
    assert built == [(tmp_path / "dense", 0)]
    assert (conv.us, conv.dense_us, conv.measured, conv.theoretical) == (2.0, 6.0, 3.0, 10.0)
    assert (expand.measured, again.measured, again.kernel) == (0.5, 1.0, "conv sparse")
    assert (pool.measured, pool.theoretical, new.measured, new.dense_us) == (1.0, None, None, None)
