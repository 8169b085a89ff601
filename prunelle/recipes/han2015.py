"""Han 2015 (arXiv:1506.02626), table 1: LeNet-300-100 and LeNet-5 on MNIST at 12 times fewer weights without loss.

    prunelle run han2015 --out DIR

Expected over 5 seeds: lenet_300_100 1.41 -> 1.32 % test error, lenet5 0.66 -> 0.68 %, both at 12.3 times fewer weights;
under 25 minutes on 2 cores. In the paper 1.64 -> 1.59 % and 0.80 -> 0.77 % by three rounds of pruning and retraining;
here sparsity rises while the network trains on (Zhu & Gupta 2017), which needs one round.
"""

from prunelle.recipes.settings import Cell, Count, GradualStage, NumSeeds, Recipe, Sparsity, Training, Word


def han2015(
    data: Word = "mnist", seeds: NumSeeds = 5, epochs: Count = 20, conv_epochs: Count = 10, sparsity: Sparsity = 0.92
) -> Recipe:
    """seeds: how many, from 0. epochs: of lenet_300_100, and twice as many when pruning; conv_epochs: of lenet5, dense
    and again when pruning."""
    dense = Training(epochs=epochs, lr=0.1, optimizer="sgd", weight_decay=5e-4)
    # At the same rate and decay as the dense network; at a lower rate the sparse one does not recover.
    pruning = Training(epochs=2 * epochs, lr=0.1, optimizer="sgd", weight_decay=5e-4)
    conv = Training(epochs=conv_epochs, lr=1e-3, optimizer="adam")
    cells = []
    for model, before, after in (("lenet_300_100", dense, pruning), ("lenet5", conv, conv)):
        stage = GradualStage(sparsity=sparsity, end=0.5, frequency=100, training=after)
        cells.append(Cell(label=model, model=model, data=data, dense=before, stages=(stage,)))
    return Recipe(name="han2015", cells=tuple(cells), seeds=tuple(range(seeds)))
