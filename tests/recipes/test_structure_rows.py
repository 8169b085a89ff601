"""What inspect finds in networks whose sets are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunelle.errors import WorkError
from prunelle.recipes.structure import structure

pytestmark = pytest.mark.usefixtures("one_thread")


def test_lenet5() -> None:
    found = structure("lenet5")
    assert (found["params"], found["macs"], found["proved"], found["input"]) == (431_080, 2_293_000, True, [1, 28, 28])
    conv1, conv2, fc1 = found["sets"]
    assert (conv1["name"], conv1["channels"], conv1["can_go"], conv1["layers"]) == ("conv1", 20, 19, ["conv1"])
    assert conv1["params"] == 20 * 26 + 50 * 20 * 25 and conv1["macs"] == 20 * 25 * 24**2 + 50 * 500 * 64
    assert (conv2["channels"], fc1["channels"], fc1["params"]) == (50, 500, 500 * 801 + 5000)
    assert [(one["layer"], one["channels"], one["free"], one["sets"]) for one in found["layers"]] == [
        ("conv1", 20, 20, ["conv1"]),
        ("conv2", 50, 50, ["conv2"]),
        ("fc1", 500, 500, ["fc1"]),
        ("fc2", 10, 0, []),
    ]
    assert found["frozen"] == [{"what": "fc2", "why": found["layers"][3]["why"]}]
    assert found["macs_share"] == 1.0


def test_a_trunk_is_one_set_and_depthwise_layers_follow() -> None:
    found = structure("mobilenet_v2_cifar")
    rows = {one["layer"]: one for one in found["layers"]}
    depthwise = [name for name, one in rows.items() if one["sets"] and one["sets"] != [name] and one["free"]]
    assert depthwise
    for one in found["sets"]:
        assert 0 < one["can_go"] < one["channels"] and one["params"] <= found["params"]
    assert sum(one["macs"] for one in found["layers"]) == found["macs"]


def test_what_cannot_shrink_is_told_and_what_cannot_be_traced_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def flat(): return nn.Sequential(nn.Flatten(), nn.Linear(12, 5))\n"
        "class Branching(nn.Flatten):\n"
        "    def forward(self, x): return super().forward(x if x.sum() > 0 else -x)\n"
        "def branching(): return nn.Sequential(Branching(), nn.Linear(12, 5))\n"
    )
    found = structure(f"{tmp_path}/nets.py:flat", input_shape=(3, 2, 2), trust=True)
    assert (found["sets"], found["proved"], found["macs_share"]) == ([], False, 0.0)
    assert found["layers"][0]["why"].endswith("keeps its size")
    with pytest.raises(WorkError, match="cannot trace its forward"):
        structure(f"{tmp_path}/nets.py:branching", input_shape=(3, 2, 2), trust=True)
