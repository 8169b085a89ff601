"""What an experiment is told, in words and numbers: read from files and command lines, checked here, never run here.

Unknown keys and impossible values are refused with their place. Words become values in recipes/words.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

# Strict: a recipe that says true or "30" where a number belongs holds a mistake.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Share = Annotated[Number, Field(ge=0, le=1)]
Sparsity = Annotated[Number, Field(ge=0, lt=1)]
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
NumRounds = Annotated[int, Field(strict=True, ge=1, le=1_000)]
NumSeeds = Annotated[int, Field(strict=True, ge=1, le=1_000)]
Bits = Annotated[int, Field(strict=True, ge=2, le=8)]
Flag = Annotated[bool, Field(strict=True)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Word = Annotated[str, Field(min_length=1, max_length=4096)]
ScoreWord = Literal["magnitude", "random", "magnitude_times_gradient", "unit_magnitude"]
ScopeWord = Literal["global", "layer", "cost"]
ChannelScoreWord = Literal["l2", "l1", "fpgm", "bn_scale", "taylor", "apoz", "activation", "random"]
ChannelScopeWord = Literal["set", "layer", "global", "cost"]
ShareWord = Literal["channels", "macs", "params"]
RepairWord = Literal["bn", "lsq"]
RuntimeWord = Literal["eager", "compile", "onnxruntime", "openvino", "native", "native16"]
PrecisionWord = Literal["fp32", "bf16", "fp16"]
MOMENTUM, TEMPERATURE = 0.9, 4.0


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Training(Frozen):
    """See train.settings.TrainSettings. patience, min_gain, target, restore_best: early stopping on val. momentum: for
    sgd only. average_epochs: not for stages that hold weights. distill: share of the loss that imitates the
    dense network, when pruning. temperature: for distill only."""

    epochs: Count = 30
    lr: Annotated[Number, Field(gt=0, le=100)] = 1e-3
    batch_size: Count = 128
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    momentum: Annotated[Number, Field(ge=0, lt=1)] = MOMENTUM
    weight_decay: Annotated[Number, Field(ge=0, le=1)] = 0.0
    schedule: Literal["constant", "cosine", "stairs", "exponential"] = "cosine"
    warmup_epochs: Annotated[Number, Field(ge=0)] = 0.0
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    precision: PrecisionWord = "fp32"
    patience: Count | None = None
    min_gain: Share = 0.0
    target: Share | None = None
    restore_best: Flag = True
    best_from: Share = 1.0
    average_epochs: Annotated[Number, Field(ge=0, le=1_000)] = 0.0
    distill: Share = 0.0
    temperature: Annotated[Number, Field(gt=0, le=100)] = TEMPERATURE

    @model_serializer(mode="wrap")
    def dump(self, rest: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what says nothing: runs are named by this, and those made before there were such words stay found."""
        found: dict[str, Any] = rest(self)
        for name in ("min_gain", "restore_best", "average_epochs"):
            if found.get(name) == type(self).model_fields[name].default:
                found.pop(name, None)
        return found

    @model_validator(mode="after")
    def check(self) -> Training:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}, must be at most epochs, {self.epochs}; lower it")
        # Compared with the defaults, not asked for in model_fields_set: a recipe that is read back sets every field.
        if self.optimizer != "sgd" and self.momentum != MOMENTUM:
            raise ValueError(f"momentum is {self.momentum} and {self.optimizer} has none; leave it out or take sgd")
        if self.patience is None and self.min_gain:
            raise ValueError(f"min_gain is {self.min_gain} and patience is not set; leave it out or set patience")
        if self.patience is None and self.target is None and not self.restore_best:
            raise ValueError("restore_best is False and nothing stops early; leave it out or set patience or target")
        if not self.distill and self.temperature != TEMPERATURE:
            raise ValueError(f"temperature is {self.temperature} and distill is 0; leave it out or set distill")
        return self


def not_averaged(training: Training) -> Training:
    """Raises ValueError where a training is to average weights that it holds."""
    if training.average_epochs:
        raise ValueError(
            f"average_epochs is {training.average_epochs} and weights are held here, such as by a mask, which an "
            "average would not keep to; leave it out"
        )
    return training


HoldingTraining = Annotated[Training, AfterValidator(not_averaged)]
"""Of weights under a mask or a penalty."""


class PruneStage(Frozen):
    """Zero the lowest scores at once. See prune.weights.PruneWeights."""

    kind: Literal["prune"] = "prune"
    sparsity: Sparsity
    score: ScoreWord = "magnitude"
    scope: ScopeWord = "global"


class RetrainStage(Frozen):
    """Train on, zeros held. See prune.weights.Retrain."""

    kind: Literal["retrain"] = "retrain"
    training: HoldingTraining


class GradualStage(Frozen):
    """Train while sparsity rises. See prune.weights.PruneGradually."""

    kind: Literal["gradual"] = "gradual"
    sparsity: Sparsity
    score: ScoreWord = "magnitude"
    scope: ScopeWord = "global"
    shape: Literal["constant", "linear", "cubic"] = "cubic"
    begin: Share = 0.0
    end: Annotated[Number, Field(ge=0, le=0.9)] = 0.6
    frequency: Count = 20
    training: HoldingTraining

    @model_validator(mode="after")
    def check(self) -> GradualStage:
        if self.begin > self.end:
            raise ValueError(f"begin is {self.begin}, must be at most end, {self.end}; lower it")
        return self


class UnitWords(Frozen):
    """What every stage that cuts channels is told. floor: channels that every set keeps. skip: paths of modules whose
    channels stay. repair: what is done to the cut network, in this order."""

    score: ChannelScoreWord = "l2"
    scope: ChannelScopeWord = "set"
    floor: Count = 1
    skip: tuple[Word, ...] = ()
    repair: tuple[RepairWord, ...] = ()

    @model_validator(mode="after")
    def check(self) -> Self:
        twice = [word for word in self.repair if self.repair.count(word) > 1]
        if twice:
            raise ValueError(f"repair names {twice[0]!r} twice; name each once")
        return self


class ChannelWords(UnitWords):
    """amount: share of `of` to remove. multiple: what kept widths are rounded up to."""

    amount: Sparsity
    of: ShareWord = "channels"
    multiple: Count = 1


class ChannelsStage(ChannelWords):
    """Cut whole channels at once. See prune.channel_steps.PruneChannels."""

    kind: Literal["channels"] = "channels"


class GradualChannelsStage(ChannelWords):
    """Cut whole channels in rounds, with a training after each. See prune.channel_steps.PruneChannelsGradually."""

    kind: Literal["gradual_channels"] = "gradual_channels"
    rounds: NumRounds
    training: Training


class LatencyStage(UnitWords):
    """Cut whole channels until a call takes as long as was asked for. See prune.latency_target.plan_latency.

    ratio: of the time that the dense network takes; ms: or milliseconds. runtime, batch, threads: of the call.
    multiples: widths to try.
    """

    kind: Literal["latency"] = "latency"
    ratio: Annotated[Number, Field(gt=0, lt=1)] | None = None
    ms: Annotated[Number, Field(gt=0, le=1_000_000)] | None = None
    runtime: RuntimeWord = "eager"
    batch: Annotated[int, Field(strict=True, ge=1, le=65_536)] = 1
    threads: Annotated[int, Field(strict=True, ge=1, le=1_024)] = 1
    multiples: Annotated[tuple[Count, ...], Field(min_length=1, max_length=16)] = (1, 4, 8, 16)

    @model_validator(mode="after")
    def check_target(self) -> Self:
        if (self.ratio is None) == (self.ms is None):
            raise ValueError(f"ratio is {self.ratio} and ms is {self.ms}; give one of the two")
        return self


class GroupSparseStage(Frozen):
    """Train whole channels towards zero. See prune.group_sparse.GroupSparse."""

    kind: Literal["group_sparse"] = "group_sparse"
    strength: Annotated[Number, Field(ge=0, le=1_000)]
    skip: tuple[Word, ...] = ()
    training: HoldingTraining


class BlocksStage(Frozen):
    """Take whole residual blocks out. See prune.block_steps.RemoveBlocks.

    num: how many. macs: or until this share of the multiply-adds is gone. repair: also before each trial is judged.
    """

    kind: Literal["blocks"] = "blocks"
    num: NumRounds | None = None
    macs: Annotated[Number, Field(gt=0, lt=1)] | None = None
    repair: tuple[RepairWord, ...] = ("bn",)

    @model_validator(mode="after")
    def check(self) -> BlocksStage:
        if (self.num is None) == (self.macs is None):
            raise ValueError(f"num is {self.num} and macs is {self.macs}; give one of the two")
        return self


class QuantizeStage(Frozen):
    """Round all prunable weights. See quantize.ptq.QuantizeWeights."""

    kind: Literal["quantize"] = "quantize"
    bits: Bits = 8
    per_channel: Flag = True


class QatStage(Frozen):
    """Train with weights rounded in every forward pass. See quantize.qat.QuantizationAwareTraining."""

    kind: Literal["qat"] = "qat"
    bits: Bits
    per_channel: Flag = True
    training: Training


Stage = Annotated[
    PruneStage
    | RetrainStage
    | GradualStage
    | ChannelsStage
    | GradualChannelsStage
    | LatencyStage
    | GroupSparseStage
    | BlocksStage
    | QuantizeStage
    | QatStage,
    Field(discriminator="kind"),
]


class Cell(Frozen):
    """One line of an experiment: a dense network, trained or brought, and what is then done to it.

    model: a spec or a saved folder. weights: a file, for a spec. dense: how to train the dense network first; None
    takes it as it is. stages: what makes the pruned network; none leaves only the dense one.
    """

    label: Annotated[str, Field(min_length=1, max_length=80)]
    model: Word
    data: Word
    weights: Word | None = None
    input_shape: tuple[Count, Count, Count] | None = None
    dense: Training | None = None
    stages: tuple[Stage, ...] = ()

    @model_validator(mode="after")
    def check(self) -> Cell:
        if self.dense and self.dense.distill:
            raise ValueError(f"distill is {self.dense.distill} and a dense network has no teacher; leave it out")
        return self


class Recipe(Frozen):
    """Cells times seeds."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    cells: Annotated[tuple[Cell, ...], Field(min_length=1, max_length=1_000)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1_000)]

    @model_validator(mode="after")
    def check(self) -> Recipe:
        labels = [cell.label for cell in self.cells]
        twice = [label for label in labels if labels.count(label) > 1]
        if twice:
            raise ValueError(f"cells: the label {twice[0]!r} stands there twice; give each cell its own")
        return self
