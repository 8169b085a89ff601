"""He 2019, FPGM (arXiv:1811.00250): filters near the geometric median of their layer go; against L2 norms and chance.

    prunelle run fpgm --data-dir DIR --out DIR
    prunelle run fpgm --set model=resnet20 --set weights=cifar10_resnet20.safetensors --set epochs=3 --out DIR

The same share of every layer is cut at once, then the network is trained on.

LeNet-5 on MNIST takes 5.3 CPU minutes a seed (measured with one; 15 minutes on a busy core), so the default is done in
under a quarter of an hour on 2 free cores. That seed: 99.36 % dense; 99.21, 99.28, 99.31 % (fpgm, l2, random) without
30 % of the channels, 99.24, 99.26, 99.14 % without half, 98.99, 99.00, 98.75 % without 70 %: at 30 % all are alike.
ResNet-20 from published weights, 3 epochs a cut, takes about 3 hours a seed on one busy core by the pilot of --dry-run,
ResNet-44 twice that; a dense ResNet-20 trained here adds 10 hours.
"""

from prunelle.models.names import TABLE
from prunelle.recipes.settings import (
    Cell,
    ChannelScoreWord,
    ChannelsStage,
    Count,
    NumSeeds,
    Recipe,
    RetrainStage,
    Sparsity,
    Training,
    Word,
)

SCORES: tuple[ChannelScoreWord, ...] = ("fpgm", "l2", "random")
MNIST_SHAPE = (1, 28, 28)


def fpgm(
    model: Word = "lenet5",
    data: Word | None = None,
    weights: Word | None = None,
    seeds: NumSeeds = 3,
    dense_epochs: Count | None = None,
    epochs: Count = 2,
    amounts: tuple[Sparsity, ...] = (0.3, 0.5, 0.7),
    scores: tuple[ChannelScoreWord, ...] = SCORES,
) -> Recipe:
    """data: without it mnist for the LeNets, else cifar10. seeds: how many, from 0. dense_epochs: used only without
    weights; without it 10 for the LeNets, 30 for alexnet_cifar, else 100. epochs: after each cut. amounts: shares of
    every layer's channels."""
    lenet = model in TABLE and TABLE[model].input_shape == MNIST_SHAPE
    dense = None if weights is not None else dense_training(model, lenet, dense_epochs)
    cells = []
    for amount in amounts:
        for score in scores:
            cut = ChannelsStage(amount=amount, score=score)
            stages = (cut, RetrainStage(training=tuning(lenet, epochs)))
            label = f"{score} {100 * amount:.4g}%"
            source = data or ("mnist" if lenet else "cifar10")
            cells.append(Cell(label=label, model=model, weights=weights, data=source, dense=dense, stages=stages))
    return Recipe(name="fpgm", cells=tuple(cells), seeds=tuple(range(seeds)))


def dense_training(model: str, lenet: bool, epochs: int | None) -> Training:
    """How a network is trained before it is cut."""
    if lenet:
        return Training(epochs=epochs or 10, lr=1e-3, optimizer="adam")
    if model.startswith("alexnet"):  # it has no norms, and diverges at a ResNet's rate
        return Training(epochs=epochs or 30, lr=0.01, optimizer="sgd", weight_decay=5e-4)
    return Training(epochs=epochs or 100, lr=0.1, optimizer="sgd", weight_decay=1e-4, schedule="stairs")


def tuning(lenet: bool, epochs: int) -> Training:
    """How what is left is trained on."""
    if lenet:
        return Training(epochs=epochs, lr=1e-3, optimizer="adam")
    return Training(epochs=epochs, lr=0.01, optimizer="sgd", weight_decay=1e-4)
