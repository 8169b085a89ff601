"""ResNet-20 on CIFAR-10 into class-wise members: does it matter which classes go together?

    prunelle run classwise_resnet20 --set weights=RESNET20.safetensors --out DIR

By default 2 groups by every heuristic and at random, 10,000 training images, 3 epochs a member, 5 seeds: about 40
minutes on 2 cores. Without weights the network is trained first, for `dense_epochs`.
"""

from typing import Annotated

from pydantic import Field

from prunelle.recipes.classwise import (
    ClasswiseRecipe,
    GroupingWord,
    NumGroups,
    SplitWord,
    TargetMacs,
    retraining,
)
from prunelle.recipes.settings import Count, Number, NumSeeds, PrecisionWord, Training, Word


def classwise_resnet20(
    data: Word = "cifar10",
    weights: Word | None = None,
    dense_epochs: Count = 30,
    groups: NumGroups = 2,
    groupings: tuple[GroupingWord, ...] = ("random", "consecutive", "similar", "dissimilar", "kmeans"),
    seeds: NumSeeds = 5,
    epochs: Count = 3,
    patience: Count | None = None,
    lr: Annotated[Number, Field(gt=0, le=100)] = 0.02,
    precision: PrecisionWord = "fp32",
    target_macs: TargetMacs = 0.5,
    shared_macs: TargetMacs | None = None,
    shared_epochs: Count | None = None,
    train_images: Count | None = 10_000,
    choose_on: SplitWord = "val",
) -> ClasswiseRecipe:
    """weights: of a trained network. choose_on: test-half where it was trained on the validation split too. The others
    as in ClasswiseRecipe; epochs, patience, lr, precision: of a member's training. shared_epochs: of the network that
    shared_macs asks for, else as many; otherwise it is trained as members are."""
    trained = Training(
        epochs=dense_epochs,
        lr=0.1,
        optimizer="sgd",
        weight_decay=1e-4,
        warmup_epochs=min(1.0, dense_epochs),
    )
    return ClasswiseRecipe(
        name="classwise_resnet20",
        model="resnet20",
        data=data,
        weights=weights,
        dense=None if weights is not None else trained,
        groups=groups,
        groupings=groupings,
        seeds=tuple(range(seeds)),
        target_macs=target_macs,
        shared_macs=shared_macs,
        shared_training=retraining(shared_epochs, lr, precision, patience) if shared_epochs else None,
        training=retraining(epochs, lr, precision, patience),
        train_images=train_images,
        choose_on=choose_on,
    )
