"""A recipe on digits that takes a second, and a place where little is timed."""

from pathlib import Path

from prunelle.recipes.plan import Place
from prunelle.recipes.settings import Cell, GradualStage, PruneStage, Recipe, RetrainStage, Training

ONCE = Training(epochs=1, lr=2e-3)


def cell(label: str = "gradual", **changed) -> Cell:
    stages = (GradualStage(sparsity=0.8, frequency=2, training=ONCE),)
    return Cell(
        **{"label": label, "model": "lenet_300_100", "data": "digits", "dense": ONCE, "stages": stages} | changed
    )


def at_once(label: str = "at once") -> Cell:
    """Another pruning of the same dense network."""
    return cell(label, stages=(PruneStage(sparsity=0.5), RetrainStage(training=ONCE)))


def recipe(*cells: Cell, seeds: tuple[int, ...] = (0,)) -> Recipe:
    return Recipe(name="small", cells=cells or (cell(),), seeds=seeds)


def place(out: Path, **changed) -> Place:
    return Place(out, **{"measure_seconds": 0.01, "measure_samples": 1} | changed)
