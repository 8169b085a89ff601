"""MobileNetV2 on CIFAR-10 into class-wise members: trained first, then split and retrained.

    prunelle run classwise_mobilenetv2 --out DIR

The default is complete and meant for a GPU (--device cuda); on a CPU a tiny budget shows that it runs:
--set dense_epochs=1 --set epochs=1 --set train_images=500.
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


def classwise_mobilenetv2(
    data: Word = "cifar10",
    weights: Word | None = None,
    dense_epochs: Count = 200,
    groups: NumGroups = 2,
    groupings: tuple[GroupingWord, ...] = ("kmeans",),
    seeds: NumSeeds = 1,
    epochs: Count = 40,
    patience: Count | None = 5,
    lr: Annotated[Number, Field(gt=0, le=100)] = 0.02,
    precision: PrecisionWord = "fp32",
    target_macs: TargetMacs = 0.3,
    shared_macs: TargetMacs | None = None,
    shared_epochs: Count | None = None,
    train_images: Count | None = None,
    choose_on: SplitWord = "val",
) -> ClasswiseRecipe:
    """As in classwise_resnet20."""
    trained = Training(
        epochs=dense_epochs,
        lr=0.05,
        optimizer="sgd",
        weight_decay=4e-5,
        warmup_epochs=min(1.0, dense_epochs),
    )
    return ClasswiseRecipe(
        name="classwise_mobilenetv2",
        model="mobilenet_v2_cifar",
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
