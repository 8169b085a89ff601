"""Cutting without data, and what stands in the folder afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prunelle.errors import RunConflictError, WorkError
from prunelle.models.save import load, size_bytes
from prunelle.recipes import channels
from prunelle.recipes.channels import cut_channels, dry_cut
from prunelle.recipes.settings import ChannelsStage
from prunelle.recipes.slimming import Asked, open_asked
from prunelle.recipes.verify import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")


def asked(model: str = "lenet5", **words: object) -> Asked:
    return Asked(model, ChannelsStage(**({"amount": 0.5} | words)))


def test_half_of_lenet5(tmp_path: Path) -> None:
    """20, 50 and 500 channels become 10, 25 and 250: 1,125 weights fewer in conv1's place, worked out by hand."""
    told = cut_channels(asked(), tmp_path / "o", verified=True)
    params = 10 * 26 + 25 * 251 + 250 * (25 * 16 + 1) + 10 * 251
    macs = 10 * 25 * 24**2 + 25 * 250 * 8**2 + 250 * 400 + 10 * 250
    assert (told["params_before"], told["params_after"]) == (431_080, params)
    assert (told["macs_before"], told["macs_after"]) == (2_293_000, macs)
    assert (told["channels_before"], told["channels_after"], told["num_sets_pruned"]) == (570, 285, 3)
    assert told["ok"] and told["max_rel_err"] <= 1e-10 and told["seconds"] > 0
    assert [one["what"] for one in told["frozen"]] == ["fc2"]
    assert told["size_bytes_after"] == size_bytes(tmp_path / "o") < told["size_bytes_before"] / 3
    assert load(tmp_path / "o")(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["o"]


def test_nothing_is_cut_at_0_and_the_network_stays_the_same(tmp_path: Path) -> None:
    told = cut_channels(asked(amount=0.0), tmp_path / "o")
    assert told["params_after"] == told["params_before"] and told["num_sets_pruned"] == 0
    dense, _ = open_asked(asked(), False)
    state = load(tmp_path / "o").state_dict()
    assert all(torch.equal(value, state[key]) for key, value in dense.model.state_dict().items())


def test_a_cut_folder_can_be_cut_again_and_a_second_start_gives_the_same(tmp_path: Path) -> None:
    first = cut_channels(asked(), tmp_path / "a")
    again = cut_channels(asked(str(tmp_path / "a")), tmp_path / "b", verified=True)
    assert again["ok"] and again["params_before"] == first["params_after"]
    assert again["size_bytes_before"] == first["size_bytes_after"]
    bits = (tmp_path / "a" / "model.safetensors").read_bytes()
    cut_channels(asked(), tmp_path / "a")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == bits
    with pytest.raises(RunConflictError, match="other settings"):
        cut_channels(asked(amount=0.25), tmp_path / "a")


def test_what_fails_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flat.py").write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Flatten(), nn.Linear(12, 5))\n"
    )
    whole = Asked(f"{tmp_path}/flat.py:make", ChannelsStage(amount=0.5), input_shape=(3, 2, 2))
    with pytest.raises(WorkError, match="no channel can go"):
        cut_channels(whole, tmp_path / "o", trust=True)
    told = cut_channels(whole, tmp_path / "o", trust=True, verified=True)
    assert told["ok"] is False and told["params_before"] == 65 and told["params_after"] is None
    assert told["frozen"] == [{"what": "1", "why": told["frozen"][0]["why"]}]
    monkeypatch.setattr(channels, "verify", lambda *_: Verdict(0.5, (), ("it is wrong",)))
    told = cut_channels(asked(), tmp_path / "deep" / "o", verified=True)
    assert (told["ok"], told["max_rel_err"], told["problems"]) == (False, 0.5, ["it is wrong"])
    assert [path.name for path in tmp_path.iterdir()] == ["flat.py"]


def test_a_dry_run_tells_what_would_be_left(tmp_path: Path) -> None:
    told, made = dry_cut(asked(of="macs")), cut_channels(asked(of="macs"), tmp_path / "o")
    assert (told["params_after"], told["macs_after"]) == (made["params_after"], made["macs_after"])
    assert made["macs_after"] <= 0.5 * made["macs_before"]
