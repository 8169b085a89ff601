"""LeNet-300-100 on 8x8 digits, dense and at 90 % zeros, 5 seeds: the main job on data that needs no download.

    prunelle quickstart --out DIR

Expected: about 97.5 % dense, a mean loss below 1 point, a folder 0.14 times the dense one's; half a minute.
"""

from prunelle.recipes.settings import Cell, Count, GradualStage, NumSeeds, Recipe, Sparsity, Training


def quickstart(seeds: NumSeeds = 5, epochs: Count = 40, sparsity: Sparsity = 0.9) -> Recipe:
    """seeds: how many, from 0. epochs: of the dense training, and again of the pruning."""
    training = Training(epochs=epochs, lr=2e-3, batch_size=64, optimizer="adam")
    pruning = GradualStage(sparsity=sparsity, training=training)
    cell = Cell(
        label=f"{100 * sparsity:.4g}% zeros", model="lenet_300_100", data="digits", dense=training, stages=(pruning,)
    )
    return Recipe(name="quickstart", cells=(cell,), seeds=tuple(range(seeds)))
