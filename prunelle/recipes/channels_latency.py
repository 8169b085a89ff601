"""Channels cut until a CIFAR ResNet takes 0.6 times its dense time in ONNX Runtime on this machine, then trained on.

    prunelle run channels_latency --set weights=cifar10_resnet20.safetensors --out DIR
    prunelle run channels_latency --set model=resnet44 --set weights=cifar10_resnet44.safetensors --out DIR

ResNet-20 with --set epochs=1: 4 CPU minutes (10 on a busy machine); 64 images took 0.549 (0.533 to 0.567) of the dense
time with 53 % of the multiply-adds, at 79.15 % after that one epoch (dense 91.73 %); the default is
three, not measured. Needs the extra onnx. Without weights the dense network is trained first: hours on a CPU.
"""

from typing import Annotated

from pydantic import Field

from prunelle.recipes.settings import (
    Cell,
    ChannelScopeWord,
    ChannelScoreWord,
    Count,
    LatencyStage,
    Number,
    NumSeeds,
    Recipe,
    RepairWord,
    RetrainStage,
    RuntimeWord,
    Training,
    Word,
)

Ratio = Annotated[Number, Field(gt=0, lt=1)]
BatchSize = Annotated[int, Field(strict=True, ge=1, le=65_536)]
BLOCKS = {"resnet20": 3, "resnet32": 5, "resnet44": 7, "resnet56": 9, "resnet110": 18}


def trunk_of(model: str) -> tuple[str, ...]:
    """The layers that write into the residual sums of a CIFAR ResNet, by name; nothing for other networks."""
    if model not in BLOCKS:
        return ()
    return ("conv1", *(f"layer{stage}.{block}.conv2" for stage in (1, 2, 3) for block in range(BLOCKS[model])))


def channels_latency(
    model: Word = "resnet20",
    data: Word = "cifar10",
    weights: Word | None = None,
    seeds: NumSeeds = 1,
    dense_epochs: Count = 100,
    epochs: Count = 3,
    ratios: tuple[Ratio, ...] = (0.6,),
    runtime: RuntimeWord = "onnxruntime",
    batch: BatchSize = 64,
    score: ChannelScoreWord = "l2",
    scope: ChannelScopeWord = "cost",
    repair: tuple[RepairWord, ...] = ("lsq",),
) -> Recipe:
    """seeds: how many, from 0. dense_epochs: used only without weights. epochs: after the cut, with the dense network
    as teacher. ratios: of the dense network's time for `batch` images. The channels that run from block to block stay
    in the networks of BLOCKS: they cost the most accuracy."""
    dense = None
    if weights is None:
        dense = Training(epochs=dense_epochs, lr=0.1, optimizer="sgd", weight_decay=1e-4, schedule="stairs")
    tuning = RetrainStage(training=Training(epochs=epochs, lr=0.02, optimizer="sgd", weight_decay=1e-4, distill=0.9))
    skip = trunk_of(model)
    cells = []
    for ratio in ratios:
        cut = LatencyStage(
            ratio=ratio, runtime=runtime, batch=batch, score=score, scope=scope, skip=skip, repair=repair
        )
        label = f"{ratio:.4g} of the time in {runtime}"
        stages = (cut, tuning)
        cells.append(Cell(label=label, model=model, weights=weights, data=data, dense=dense, stages=stages))
    return Recipe(name="channels_latency", cells=tuple(cells), seeds=tuple(range(seeds)))
