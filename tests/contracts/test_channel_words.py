"""Every score, scope, repair, runtime and step of channels has its word, and every word a value. One that is left out
turns it red."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest

from prunelle.cli.channels import NEED_DATA
from prunelle.prune import channel_repairs, channel_scores, channel_select, channel_shares
from prunelle.prune.statistics import needed
from prunelle.recipes.complaint import STAGES
from prunelle.recipes.settings import (
    ChannelScopeWord,
    ChannelScoreWord,
    RepairWord,
    RuntimeWord,
    Stage,
)
from prunelle.recipes.words import CHANNEL_SCOPES, CHANNEL_SCORES, REPAIRS
from prunelle.ship.names import RUNTIMES


def functions_of(module: object, first: str) -> set:
    """Public functions of a module whose first argument has this name."""
    return {
        value
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__  # type: ignore[attr-defined]
        and not name.startswith("_")
        and next(iter(inspect.signature(value).parameters), "") == first
    }


def test_every_score_has_a_word() -> None:
    assert set(CHANNEL_SCORES.values()) == functions_of(channel_scores, "weight")
    assert set(CHANNEL_SCORES) == set(get_args(ChannelScoreWord))


def test_every_scope_has_a_word() -> None:
    scopes = {
        value
        for value in functions_of(channel_select, "tied") | functions_of(channel_shares, "tied")
        if list(inspect.signature(value).parameters) == ["tied", "scores", "amount", "limits"]
        and inspect.signature(value).parameters["amount"].annotation == "float"
    }
    assert set(CHANNEL_SCOPES.values()) == scopes and set(CHANNEL_SCOPES) == set(get_args(ChannelScopeWord))


def test_every_repair_has_a_word() -> None:
    assert set(REPAIRS.values()) == functions_of(channel_repairs, "pruned")
    assert set(REPAIRS) == set(get_args(RepairWord))


def test_the_runtimes_are_those_of_measure() -> None:
    assert get_args(RuntimeWord) == RUNTIMES


def test_every_stage_is_known_where_complaints_are_made() -> None:
    kinds = {kind.model_fields["kind"].default: kind for kind in get_args(get_args(Stage)[0])}
    assert kinds == STAGES


@pytest.mark.parametrize("name", CHANNEL_SCORES)
def test_the_command_line_knows_which_scores_need_images(name: str) -> None:
    known = ("gradient", "scale", "zeros", "mean", "generator")
    wants = set(needed(CHANNEL_SCORES[name], name, known))
    assert bool(wants & {"gradient", "zeros", "mean"}) == (name in NEED_DATA)
