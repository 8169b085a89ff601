"""What a class-wise split is told, in words and numbers: checked here, never run here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prunelle.recipes.settings import (
    ChannelScopeWord,
    ChannelScoreWord,
    Count,
    Flag,
    Frozen,
    Number,
    PrecisionWord,
    RepairWord,
    RuntimeWord,
    Seed,
    Share,
    Training,
    Word,
)

GroupingWord = Literal["random", "similar", "dissimilar", "kmeans", "consecutive", "given"]
SimilarityWord = Literal["features", "candidates"]
SplitWord = Literal["val", "test-half"]
NumGroups = Annotated[int, Field(strict=True, ge=2, le=10_000)]
ClassNumber = Annotated[int, Field(strict=True, ge=0, lt=1_000_000)]
NumViews = Annotated[int, Field(strict=True, ge=0, le=64)]
TargetMacs = Annotated[Number, Field(gt=0, le=1)]
RETRAINING = Training(
    epochs=10,
    lr=0.02,
    optimizer="sgd",
    weight_decay=1e-4,
    schedule="exponential",
    patience=2,
    min_gain=0.003,
    restore_best=False,
    average_epochs=1.0,
    distill=0.9,
)
"""The preset: at most ten epochs; a member that has not gained 0.3 points on val in two epochs leaves. Less is noise:
members that have converged still go up and down by so much, so it keeps the weights it leaves with, not those that
were lucky. The learning rate falls early whatever the last epoch is, and weights are averaged, so that who leaves has
settled."""


TO_THE_END = Training(epochs=10, lr=0.02, optimizer="sgd", weight_decay=1e-4, distill=0.9)
"""The preset where no member leaves: the learning rate falls to 0 by the last epoch, and that epoch's weights count."""


def retraining(epochs: int, lr: float, precision: PrecisionWord, patience: int | None) -> Training:
    """Of a member, as the command and the ready-made recipes have it. patience: None where no member leaves."""
    preset = TO_THE_END if patience is None else RETRAINING
    return preset.model_copy(update={"epochs": epochs, "lr": lr, "precision": precision, "patience": patience})


class ClasswiseRecipe(Frozen):
    """One network into groups x seeds; see classwise/ for what the words mean.

    model: a spec, with weights or trained by `dense`, or a saved folder. groups: how many, or the classes of each for
    grouping "given". groupings: tried one after another with each seed; what reaches most on val is kept in OUT.
    similarity: of class features, or of pruning candidates. target_macs: share of the whole network's multiply-adds
    that a member may have; None with target_latency, its time for one image in the first of `runtimes` as a share of
    that before the cut, or with target_ms, or with both thresholds. score: of channels, on the member's own task, or of
    activity, by which a target chooses the thresholds. training: of a member, None for cutting alone; its distill is
    the share of the loss that imitates the whole network. views: of each training image that the whole network is asked
    about beforehand, once for all members; 0 asks it at each update. shared_macs: first one network for all classes is
    cut to this share and trained by the first seed, and members are cut from that. shared_training: of that network,
    None for the members'; its own distill, patience and precision count. audit: members that would leave early go on
    all the same, so that what leaving costs is measured; no result changes. adapt: train a network without batch norm
    by Adam at 0.001 instead. as_one: also one network for all classes, cut to the same target and trained for as many
    epochs, as the control. choose_on: test-half where the network was trained on val too. train_images: the first of
    the training split only. look_images: that classes are looked at by. runtimes: that one image is timed in.
    """

    kind: Literal["classwise"] = "classwise"
    name: Annotated[str, Field(min_length=1, max_length=80)]
    model: Word
    data: Word
    weights: Word | None = None
    input_shape: tuple[Count, Count, Count] | None = None
    dense: Training | None = None
    groups: NumGroups | tuple[Annotated[tuple[ClassNumber, ...], Field(min_length=1)], ...] = 2
    groupings: Annotated[tuple[GroupingWord, ...], Field(min_length=1, max_length=6)] = ("kmeans",)
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1_000)] = (0,)
    similarity: SimilarityWord = "features"
    target_macs: TargetMacs | None = 0.5
    shared_macs: TargetMacs | None = None
    shared_training: Training | None = None
    target_latency: Annotated[Number, Field(gt=0, lt=1)] | None = None
    target_ms: Annotated[Number, Field(gt=0, le=1_000_000)] | None = None
    score: ChannelScoreWord | Literal["activity"] = "taylor"
    scope: ChannelScopeWord = "cost"
    keep_residual: Flag = True
    apoz: Share | None = None
    mean: Annotated[Number, Field(ge=0)] | None = None
    zero: Annotated[Number, Field(ge=0)] = 0.0
    floor: Count = 2
    multiple: Count = 1
    repair: tuple[RepairWord, ...] = ("lsq",)
    training: Training | None = RETRAINING
    views: NumViews = 4
    audit: Flag = False
    adapt: Flag = False
    as_one: Flag = False
    choose_on: SplitWord = "val"
    train_images: Count | None = None
    look_images: Count = 10_000
    runtimes: tuple[RuntimeWord, ...] = ("eager",)

    @model_validator(mode="after")
    def check(self) -> ClasswiseRecipe:
        given = not isinstance(self.groups, int)
        if given != (self.groupings == ("given",)):
            raise ValueError(f"groups is {self.groups} and groupings {self.groupings}; classes go with 'given' alone")
        for name, values in (("seeds", self.seeds), ("groupings", self.groupings), ("runtimes", self.runtimes)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} is {values}; name each once")
        thresholds = self.apoz is not None and self.mean is not None
        targets = (self.target_macs, self.target_latency, self.target_ms, self.apoz)
        if (self.apoz is None) != (self.mean is None) or sum(one is not None for one in targets) != 1:
            raise ValueError(
                f"target_macs is {self.target_macs}, target_latency {self.target_latency}, target_ms {self.target_ms}, "
                f"apoz {self.apoz} and mean {self.mean}; give one target, or both thresholds"
            )
        by_time = self.target_latency is not None or self.target_ms is not None
        if by_time and not self.runtimes:
            raise ValueError("runtimes is empty and the target is a time; name one")
        self.check_shared()
        if self.audit and (self.training is None or (self.training.patience or self.training.target) is None):
            raise ValueError("audit is true and no member can leave early; set patience, or leave it out")
        if self.score == "activity" and by_time:
            raise ValueError("score is activity, which a target of time cannot follow; take taylor, or target_macs")
        if thresholds and self.score != "activity":
            raise ValueError(f"score is {self.score} and thresholds are of activity; set score to activity")
        if any(one is not None and one.label_smoothing for one in (self.training, self.shared_training)):
            raise ValueError("label_smoothing is not for members, whose loss is their own; leave it out")
        if self.dense is not None and self.dense.distill:
            raise ValueError(f"dense: distill is {self.dense.distill} and it has no teacher; leave it out")
        return self

    def check_shared(self) -> None:
        """Raises ValueError where nothing would be trained, or where members would not be smaller."""
        if self.shared_macs is None:
            if self.shared_training is not None:
                raise ValueError("shared_training is of the network that shared_macs asks for; set both, or neither")
            return
        if self.training is None:
            raise ValueError(f"shared_macs is {self.shared_macs} and goes with training alone; leave it out, or train")
        if self.target_latency is not None:
            raise ValueError(
                f"shared_macs is {self.shared_macs} and target_latency a share of time before the cut, which would be "
                "the shared network's; take target_ms or target_macs"
            )
        if self.target_macs is not None and self.shared_macs <= self.target_macs:
            raise ValueError(
                f"shared_macs is {self.shared_macs}, must be above target_macs, {self.target_macs}: members are cut "
                "from it; change one of them"
            )
