from dataclasses import dataclass

import pytest
import torch
from tiny import new_run
from torch import nn

from prunelle.errors import SettingError
from prunelle.steps import Chain


@dataclass(frozen=True)
class Add:
    amount: float
    name: str = "add"

    def __call__(self, model, task, run):
        new = nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            new.weight.copy_(2 * model.weight + self.amount)
        return new


def test_steps_follow_each_other(tmp_path):
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    chain = Chain((Add(1.0, "a"), Add(5.0, "b")))
    assert chain(model, None, new_run(tmp_path)).weight.item() == 2 * (2 * 1 + 1) + 5
    assert model.weight.item() == 1.0


def test_a_chain_of_nothing_changes_nothing(tmp_path):
    model = nn.Linear(1, 1)
    assert Chain(())(model, None, new_run(tmp_path)) is model


def test_a_chain_is_a_step(tmp_path):
    inner = Chain((Add(1.0, "a"),), "inner")
    chain = Chain((inner, Add(2.0, "b")))
    assert [step.name for step in chain.flat()] == ["a", "b"]
    assert chain.name == "chain"


def test_one_name_twice_is_refused_however_deep():
    with pytest.raises(SettingError, match=r"two steps are called 'add'.*give each its own name"):
        Chain((Add(1.0), Add(2.0)))
    with pytest.raises(SettingError, match="'a'"):
        Chain((Chain((Add(1.0, "a"),), "inner"), Add(2.0, "a")))
