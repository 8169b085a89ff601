"""An experiment of your own: constant against polynomial sparsity at 95 % zeros, 3 seeds, with a report."""

import tempfile
from pathlib import Path

from prunelle.recipes.experiment import run_experiment
from prunelle.recipes.outcome import report, write_report
from prunelle.recipes.plan import Place
from prunelle.recipes.settings import Cell, GradualStage, Recipe, Training


def recipe() -> Recipe:
    training = Training(epochs=15, lr=2e-3, batch_size=64)
    cells = tuple(
        Cell(
            label=shape,
            model="lenet_300_100",
            data="digits",
            dense=training,
            stages=(GradualStage(sparsity=0.95, shape=shape, training=training),),
        )
        for shape in ("constant", "cubic")
    )
    return Recipe(name="schedules", cells=cells, seeds=(0, 1, 2))


def main() -> None:
    out = Path(tempfile.mkdtemp()) / "schedules"
    command = "python examples/02_compare_two_schedules.py"
    place = Place(out, workers=1, measure_seconds=0.2, command=command)
    finished = run_experiment(recipe(), place)
    assert finished is not None
    found = report(recipe(), finished, place)
    print(found.summary)
    for file in write_report(found, out):
        print(file["path"])


if __name__ == "__main__":
    main()
