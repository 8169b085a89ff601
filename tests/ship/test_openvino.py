import sys

import pytest
import torch
from torch import Tensor, nn

from prunelle.errors import MissingExtraError, WorkError
from prunelle.ship.openvino import openvino


class Branching(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


def test_what_cannot_be_converted_is_one_sentence():
    pytest.importorskip("openvino")
    with pytest.raises(WorkError, match=r"^openvino: Branching could not be converted \(.*\); take another runtime\.$"):
        openvino(Branching(), torch.ones(2, 3), 1)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'prunelle\[openvino\]'"):
        openvino(nn.Linear(2, 2), torch.zeros(1, 2), 1)
