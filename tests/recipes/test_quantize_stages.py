"""Recipes that quantize: the saved network holds the rounded weights, and its card is of that file."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunelle.models.save import load
from prunelle.recipes.experiment import run_experiment
from prunelle.recipes.settings import PruneStage, QatStage, QuantizeStage, Training

from .small import ONCE, cell, place, recipe

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "stage", [QuantizeStage(bits=4), QatStage(bits=4, training=Training(epochs=1, distill=0.5))], ids=lambda s: s.kind
)
def test_a_pruned_network_is_quantized_and_saved_so(stage, tmp_path: Path) -> None:
    stages = (PruneStage(sparsity=0.8), stage)
    finished = run_experiment(recipe(cell(dense=ONCE, stages=stages)), place(tmp_path / "o"))
    assert finished is not None
    _, pruned = finished.rows
    weights = [weight for weight in load(tmp_path / "o").parameters() if weight.ndim > 1]
    assert all(len(row.unique()) <= 15 for weight in weights for row in weight)
    # Small weights round to 0 too, so at least as many zeros as were pruned.
    assert sum(int((weight == 0).sum()) for weight in weights) >= 0.8 * sum(weight.numel() for weight in weights)
    assert pruned["nnz"] == sum(int(weight.count_nonzero()) for weight in load(tmp_path / "o").parameters())
