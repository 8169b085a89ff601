"""Han 2015 (arXiv:1506.02626), table 1: LeNet-300-100 and LeNet-5 on MNIST at 12 times fewer weights without loss.

    prunelle run han2015 --out DIR

Expected: lenet_300_100 about 1.6 % error dense, lenet5 about 0.7 %, both the same at 12.5 times fewer weights.
"""

from prunelle.recipes.settings import Cell, Count, GradualStage, NumSeeds, Recipe, Sparsity, Training, Word


def han2015(
    data: Word = "mnist", seeds: NumSeeds = 5, epochs: Count = 20, conv_epochs: Count = 12, sparsity: Sparsity = 0.92
) -> Recipe:
    """seeds: how many, from 0. epochs: of lenet_300_100, conv_epochs: of lenet5, dense and again when pruning."""
    cells = []
    for model, count in (("lenet_300_100", epochs), ("lenet5", conv_epochs)):
        dense = Training(epochs=count, lr=1e-3, optimizer="adam", batch_size=128)
        pruning = GradualStage(sparsity=sparsity, end=0.6, frequency=100, training=dense)
        cells.append(Cell(label=model, model=model, data=data, dense=dense, stages=(pruning,)))
    return Recipe(name="han2015", cells=tuple(cells), seeds=tuple(range(seeds)))
