"""Lottery tickets of MobileNetV2 on a folder in ImageNet's layout: masks x late-resetting epochs.

    prunelle prepare IMAGES SHARDS --size 64
    prunelle sweep lottery_mobilenetv2 --set data=SHARDS --out DIR

By default M = 20 masks x N = 5 late-resetting points, 100 trainings after a dense one, as it was once searched with
2,625 hours in series; `prunelle plan` tells what it costs on a machine of yours before it is paid.
"""

from typing import Annotated

from pydantic import Field

from prunelle.recipes.lottery import ArrangementWord, ControlWord, NumMasks, NumPoints, TicketRecipe, points, shares
from prunelle.recipes.settings import Count, Number, NumSeeds, Training, Word


def lottery_mobilenetv2(
    data: Word = "imagenet",
    masks: NumMasks = 20,
    rewinds: NumPoints = 5,
    epochs: Count = 150,
    seeds: NumSeeds = 1,
    controls: tuple[ControlWord, ...] = (),
    lr: Annotated[Number, Field(gt=0, le=100)] = 0.05,
    batch_size: Count = 256,
    first: Annotated[Number, Field(gt=0, le=1_000_000)] = 1.0,
    arrangement: ArrangementWord = "auto",
) -> TicketRecipe:
    """data: a folder of images by class, or what `prunelle prepare` made of it. first: epoch of the second rewinding
    point, each later one twice the one before. The others as in lottery_lenet."""
    return TicketRecipe(
        name="lottery_mobilenetv2",
        model="mobilenet_v2",
        data=data,
        training=Training(
            epochs=epochs, lr=lr, batch_size=batch_size, optimizer="sgd", weight_decay=4e-5, schedule="cosine"
        ),
        kept=shares(masks),
        rewinds=points(rewinds, first),
        seeds=tuple(range(seeds)),
        controls=controls,
        arrangement=arrangement,
    )
