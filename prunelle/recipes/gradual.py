"""Gradual pruning of ResNet-20 on CIFAR-10: constant against polynomial sparsity, and accuracy against threshold.

    prunelle run gradual --set weights=cifar10_resnet20.safetensors --out DIR

Measured from the published weights (91.73 %) at a tenth of the length, one seed (--set epochs=1 --set
'sparsities=[0.8]', 7 minutes on 2 busy cores): 87.93 % constant, 87.14 % polynomial at 80 %. The full length takes
about 65 minutes, judged by the time of a step.

Source: Zhu & Gupta 2017, arXiv:1710.01878. Without weights the dense network is trained first.
"""

from typing import Literal

from prunelle.recipes.settings import Cell, Count, GradualStage, NumSeeds, Recipe, Sparsity, Training, Word

SHAPES: tuple[Literal["constant", "cubic"], ...] = ("constant", "cubic")


def gradual(
    data: Word = "cifar10",
    model: Word = "resnet20",
    weights: Word | None = None,
    seeds: NumSeeds = 1,
    dense_epochs: Count = 100,
    epochs: Count = 10,
    sparsities: tuple[Sparsity, ...] = (0.5, 0.8, 0.9),
) -> Recipe:
    """seeds: how many, from 0. dense_epochs: used only without weights. epochs: of each pruning."""
    dense = None
    if weights is None:
        dense = Training(
            epochs=dense_epochs, lr=0.1, optimizer="sgd", weight_decay=1e-4, schedule="stairs", batch_size=128
        )
    training = Training(epochs=epochs, lr=0.01, optimizer="sgd", weight_decay=1e-4, batch_size=128)
    cells = []
    for sparsity in sparsities:
        for shape in SHAPES:
            stage = GradualStage(sparsity=sparsity, shape=shape, begin=0.0, end=0.6, frequency=50, training=training)
            label = f"{'polynomial' if shape == 'cubic' else shape} {100 * sparsity:.4g}%"
            cells.append(Cell(label=label, model=model, weights=weights, data=data, dense=dense, stages=(stage,)))
    return Recipe(name="gradual", cells=tuple(cells), seeds=tuple(range(seeds)))
