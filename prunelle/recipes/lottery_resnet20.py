"""Lottery tickets of ResNet-20 on CIFAR-10: rewinding against fresh weights (arXiv:1912.05671, 2003.02389).

    prunelle sweep lottery_resnet20 --out DIR

The papers train 62,000 updates; the default here is a short budget that says so: 4 epochs a training, about 1,400
updates at batch 128, which ranks rewinding points and controls and reaches no paper's accuracy. --set epochs=160 is
the paper's.
"""

from typing import Annotated, Literal

from pydantic import Field

from prunelle.recipes.lottery import ArrangementWord, ControlWord, Epochs, Kept, TicketRecipe
from prunelle.recipes.settings import Count, Flag, Number, NumSeeds, Training, Word


def lottery_resnet20(
    data: Word = "cifar10",
    epochs: Count = 4,
    kept: tuple[Kept, ...] = (0.2, 0.1, 0.05),
    rewinds: tuple[Epochs, ...] = (0.0, 0.5),
    seeds: NumSeeds = 1,
    iterative: Flag = False,
    controls: tuple[ControlWord, ...] = ("random", "reinit"),
    lr: Annotated[Number, Field(gt=0, le=100)] = 0.1,
    precision: Literal["fp32", "bf16"] = "fp32",
    arrangement: ArrangementWord = "auto",
) -> TicketRecipe:
    """kept: shares of the weights, falling. rewinds: epochs, rising. The others as in lottery_lenet."""
    return TicketRecipe(
        name="lottery_resnet20",
        model="resnet20",
        data=data,
        training=Training(
            epochs=epochs,
            lr=lr,
            optimizer="sgd",
            weight_decay=1e-4,
            schedule="cosine",
            warmup_epochs=min(0.5, epochs),
            precision=precision,
        ),
        kept=kept,
        rewinds=rewinds,
        seeds=tuple(range(seeds)),
        iterative=iterative,
        controls=controls,
        arrangement=arrangement,
    )
