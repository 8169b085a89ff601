import shutil

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from prunelle.errors import MissingExtraError, WorkError
from prunelle.ship.compiled import compiled

EXAMPLE = torch.ones(1, 4)
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler"
)


@needs_compiler
def test_every_model_is_compiled_however_many_came_before():
    counters.clear()
    with torch._dynamo.config.patch(recompile_limit=1):
        for width in (3, 5, 7):
            compiled(nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2)), EXAMPLE, 1)
    assert counters["frames"]["ok"] == counters["frames"]["total"] >= 3


def failing(message: str):
    def compile(program: object) -> object:
        def run(images: Tensor) -> Tensor:
            raise RuntimeError(message)

        return run

    return compile


def test_a_missing_compiler_is_said(monkeypatch):
    monkeypatch.setattr(torch, "compile", failing("InvalidCxxCompiler: No working C++ compiler found"))
    with pytest.raises(MissingExtraError, match=r"needs a C\+\+ compiler and found none; install g\+\+"):
        compiled(nn.Linear(4, 2), EXAMPLE, 1)


@needs_compiler
def test_any_other_failure_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch, "compile", failing("no kernel for this\nand a page of advice"))
    with pytest.raises(WorkError, match=r"^runtime compile: Linear could not be compiled \(RuntimeError: no kernel"):
        compiled(nn.Linear(4, 2), EXAMPLE, 1)
