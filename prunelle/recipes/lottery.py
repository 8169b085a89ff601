"""What a search for lottery tickets is told, in words and numbers: checked here, never run here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prunelle.recipes.settings import (
    Count,
    Flag,
    Frozen,
    HoldingTraining,
    Number,
    ScopeWord,
    ScoreWord,
    Seed,
    Share,
    Word,
)

Kept = Annotated[Number, Field(gt=0, lt=1)]
Epochs = Annotated[Number, Field(ge=0, le=1_000_000)]
NumMasks = Annotated[int, Field(strict=True, ge=1, le=50)]
"""Of `shares`: the 50th keeps 1 weight in 70,000."""
NumPoints = Annotated[int, Field(strict=True, ge=1, le=20)]
ControlWord = Literal["random", "shuffled", "reinit", "lr", "finetune", "twin"]
ArrangementWord = Literal["auto", "plain", "fused", "sparse"]


class Retiring(Frozen):
    """When members are ended early. See tickets.retire.Retirement; gap, min_gain: fractions of val accuracy."""

    patience: Count | None = None
    min_gain: Share = 0.0
    gap: Annotated[Number, Field(gt=0, le=1)] | None = None
    grace: Count = 2
    audit: Share = 0.0


class TicketRecipe(Frozen):
    """Masks times rewinding points times seeds.

    kept: share of the prunable weights that each mask keeps, falling. rewinds: epochs of the dense training whose
    weights members go back to, rising; fractions are allowed. iterative: each mask comes from the ticket before it,
    else all from the dense network. See tickets.grid and tickets.lottery for the rest.
    """

    kind: Literal["tickets"] = "tickets"
    name: Annotated[str, Field(min_length=1, max_length=80)]
    model: Word
    data: Word
    input_shape: tuple[Count, Count, Count] | None = None
    training: HoldingTraining
    kept: Annotated[tuple[Kept, ...], Field(min_length=1, max_length=100)]
    rewinds: Annotated[tuple[Epochs, ...], Field(min_length=1, max_length=20)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1_000)]
    iterative: Flag = False
    controls: tuple[ControlWord, ...] = ()
    score: ScoreWord = "magnitude"
    scope: ScopeWord = "global"
    finetune_lr: Annotated[Number, Field(gt=0, le=100)] = 1e-4
    rewind_optimizer: Flag = False
    retiring: Retiring = Retiring()
    arrangement: ArrangementWord = "auto"

    @model_validator(mode="after")
    def check(self) -> TicketRecipe:
        if any(a <= b for a, b in zip(self.kept, self.kept[1:], strict=False)):
            raise ValueError(f"kept is {self.kept}, must fall: each share below the one before")
        if any(a >= b for a, b in zip(self.rewinds, self.rewinds[1:], strict=False)):
            raise ValueError(f"rewinds is {self.rewinds}, must rise: each epoch after the one before")
        if self.rewinds[-1] >= self.training.epochs:
            raise ValueError(
                f"rewinds: the last point is epoch {self.rewinds[-1]:g} and the training has {self.training.epochs}; "
                "take earlier points or more epochs"
            )
        for name, values in (("seeds", self.seeds), ("controls", self.controls)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} is {values}; name each once")
        told = self.training
        if told.patience is not None or told.target is not None:
            raise ValueError("training: patience and target are for single trainings; set retiring instead")
        if told.precision == "fp16":
            raise ValueError("training: precision is fp16, whose loss scaling tickets lack; take bf16 or fp32")
        if told.distill:
            raise ValueError(f"training: distill is {told.distill} and a ticket has no teacher; leave it out")
        return self


def shares(masks: int, factor: float = 0.8) -> tuple[float, ...]:
    """Shares kept by so many masks, each `factor` times the one before, as in arXiv:1803.03635.

    >>> shares(3)
    (0.8, 0.64, 0.512)
    """
    return tuple(round(factor ** (number + 1), 6) for number in range(masks))


def points(rewinds: int, first: float = 0.25) -> tuple[float, ...]:
    """Epochs of so many rewinding points: the start, then `first`, each twice the one before.

    >>> points(4)
    (0.0, 0.25, 0.5, 1.0)
    """
    return (0.0, *(first * 2**number for number in range(rewinds - 1)))


def single(recipe: TicketRecipe) -> TicketRecipe:
    """The one experiment of a grid: its last mask (all before it, where masks are chosen in rounds) at its first
    rewinding point, with the controls."""
    kept = recipe.kept if recipe.iterative else recipe.kept[-1:]
    return recipe.model_copy(update={"kept": kept, "rewinds": recipe.rewinds[:1]})
