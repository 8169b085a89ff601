import json
from pathlib import Path

import pytest
import torch
from torch import nn

from prunelle.errors import ShapeError
from prunelle.ship.native import build_native
from prunelle.ship.native_profile import profile_native

IMAGE = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def test_every_layer_is_profiled(tmp_path: Path) -> None:
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)]
    build_native(nn.Sequential(*layers), IMAGE, tmp_path, target="x86-64-v3")
    rows = profile_native(tmp_path, IMAGE, calls=30)
    told = {row[0]: row[3:] for row in rows if row[3]}
    assert told == {"0": (2 * 4 * 9 * 64, 2 * 4 * 9 * 64), "4": (192, 192)}
    assert all(row[2] > 0 for row in rows)
    assert json.loads(json.dumps(rows))
    with pytest.raises(ShapeError, match=r"one image \(1, 2, 8, 8\) on the cpu is profiled, not \(2, 2, 8, 8\)"):
        profile_native(tmp_path, torch.cat([IMAGE, IMAGE]))
