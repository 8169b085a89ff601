r"""Lottery tickets of LeNet-300-100 (Frankle & Carbin, arXiv:1803.03635): masks x rewinding points x seeds.

    prunelle sweep lottery_lenet --out DIR
    prunelle sweep lottery_lenet --set rewinds=1 --set masks=15 --set iterative=true --set seeds=5 \
        --set 'controls=["random","reinit"]' --out DIR

The first is the grid of 20 masks x 5 rewinding points x 3 seeds, 300 trainings, one shot each; the second finds tickets
in 15 rounds, down to 3.5 % of the weights, beside random masks and fresh weights.
"""

from typing import Annotated

from pydantic import Field

from prunelle.recipes.lottery import (
    ArrangementWord,
    ControlWord,
    NumMasks,
    NumPoints,
    Retiring,
    TicketRecipe,
    points,
    shares,
)
from prunelle.recipes.settings import Count, Flag, Number, NumSeeds, Training, Word


def lottery_lenet(
    data: Word = "mnist",
    model: Word = "lenet_300_100",
    masks: NumMasks = 20,
    rewinds: NumPoints = 5,
    epochs: Count = 10,
    seeds: NumSeeds = 3,
    iterative: Flag = False,
    controls: tuple[ControlWord, ...] = (),
    lr: Annotated[Number, Field(gt=0, le=100)] = 1.2e-3,
    patience: Count | None = None,
    audit: Annotated[Number, Field(ge=0, le=1)] = 0.0,
    arrangement: ArrangementWord = "auto",
) -> TicketRecipe:
    """masks: how many, each keeping .8 of the one before. rewinds: how many points: the start, then a quarter epoch,
    doubling. epochs: of the dense network. seeds: how many, from 0. iterative: masks in rounds. controls: any of
    random, shuffled, reinit, lr, finetune, twin. patience: epochs without gain after which a training ends."""
    return TicketRecipe(
        name="lottery_lenet",
        model=model,
        data=data,
        training=Training(epochs=epochs, lr=lr, optimizer="adam", schedule="constant", best_from=0.0),
        kept=shares(masks),
        rewinds=points(rewinds),
        seeds=tuple(range(seeds)),
        iterative=iterative,
        controls=controls,
        retiring=Retiring(patience=patience, audit=audit),
        arrangement=arrangement,
    )
