"""What pydantic found wrong with a recipe, as one sentence: where, what came, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from prunelle.recipes.lottery import Retiring
from prunelle.recipes.settings import (
    BlocksStage,
    Cell,
    ChannelsStage,
    GradualChannelsStage,
    GradualStage,
    GroupSparseStage,
    LatencyStage,
    PruneStage,
    QatStage,
    QuantizeStage,
    Recipe,
    RetrainStage,
    Training,
)

STAGES: Mapping[str, type[BaseModel]] = {
    "prune": PruneStage,
    "retrain": RetrainStage,
    "gradual": GradualStage,
    "channels": ChannelsStage,
    "gradual_channels": GradualChannelsStage,
    "group_sparse": GroupSparseStage,
    "latency": LatencyStage,
    "blocks": BlocksStage,
    "quantize": QuantizeStage,
    "qat": QatStage,
}
HOLDERS: Mapping[str, type[BaseModel]] = {
    "cells": Cell,
    "dense": Training,
    "training": Training,
    "shared_training": Training,
    "retiring": Retiring,
    **STAGES,
}
"""Which settings stand below a word of a place; pydantic puts a stage's kind into the place."""
ALLOWED: Mapping[str, str] = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_parsing": "a whole number",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "string_too_long": "a text of at most {max_length} characters",
    "literal_error": "one of {expected}",
    "union_tag_invalid": "of a kind among {expected_tags}",
    "union_tag_not_found": "an object that says its kind: {known_kinds}",
    "tuple_type": "a list",
    "model_type": "an object in braces",
    "model_attributes_type": "an object in braces",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}
LONGEST = 80


def sentence(error: ValidationError, root: type[BaseModel] = Recipe, spell: Callable[[str], str] = str) -> str:
    """The first complaint, and how many more there are. No full stop at its end.

    root: of which the values were to be made; spell: a place as the user wrote it, such as lr -> '--set lr'.
    """
    first, more = chosen(error.errors(include_url=False))
    words = [str(part) for part in first["loc"] if part not in STAGES and not is_branch(part)]
    place = spell(".".join(words)) if words else "the recipe"
    rest = f" (and {len(more)} more)" if more else ""
    if first["type"] == "value_error" and not words:
        return f"{first['ctx']['error']}{rest}"
    return f"{place}{told(first, root)}{rest}"


def chosen(errors: list[ErrorDetails]) -> tuple[ErrorDetails, list[ErrorDetails]]:
    """The complaint to tell, and the others. Where a value may be of several kinds each has a complaint of its own: of
    these, the one that got furthest."""
    first, *more = errors
    at = next((number for number, part in enumerate(first["loc"]) if is_branch(part)), None)
    if at is None:
        return first, more
    same = [one for one in errors if one["loc"][:at] == first["loc"][:at]]
    return max(same, key=lambda one: len(one["loc"])), [one for one in more if one not in same]


def is_branch(part: int | str) -> bool:
    """Whether it names one of the kinds that a value may be of, which pydantic puts into the place."""
    return isinstance(part, str) and (part == "constrained-int" or part.startswith("tuple["))


def told(first: ErrorDetails, root: type[BaseModel]) -> str:
    """What comes after the place."""
    kind, context = first["type"], {key: whole(value) for key, value in first.get("ctx", {}).items()}
    if kind == "missing":
        return ": is missing; add it"
    if kind == "extra_forbidden":
        allowed = list(holder_of(first["loc"][:-1], root).model_fields)
        return f": is no setting here{meant(str(first['loc'][-1]), allowed)}; there are {', '.join(allowed)}"
    if kind == "value_error":
        return f": {context['error']}"
    came = short(first["input"])
    if kind not in ALLOWED:
        return f" is {came}: {first['msg']}; correct it"
    allowed_text = ALLOWED[kind].format(**context, known_kinds=", ".join(STAGES))
    hint = meant(first["input"], choices(context)) if isinstance(first["input"], str) else ""
    return f" is {came}, must be {allowed_text}{hint}; {advice(first, root)}"


def advice(first: ErrorDetails, root: type[BaseModel]) -> str:
    """Which value always works, where there is one."""
    field = holder_of(first["loc"][:-1], root).model_fields.get(str(first["loc"][-1])) if first["loc"] else None
    if field is None or field.is_required():
        return "correct it"
    return f"leave it out for {field.default!r}" if field.default is not None else "or leave it out"


def holder_of(loc: Iterable[int | str], root: type[BaseModel]) -> type[BaseModel]:
    """The class whose fields stand at a place."""
    found = root
    for part in loc:
        found = HOLDERS.get(str(part), found)
    return found


def choices(context: Mapping[str, Any]) -> list[str]:
    """The words that pydantic lists as allowed."""
    listed = str(context.get("expected", context.get("expected_tags", "")))
    return [word.strip(" '") for word in listed.replace(" or ", ",").split(",")]


def meant(word: str, known: Iterable[str]) -> str:
    """', did you mean ...?' as a piece of a sentence, empty when nothing is close."""
    close = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def whole(value: object) -> object:
    """A limit as one would write it: 1.0 is 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def short(value: object) -> str:
    """A value as one would type it, cut where it is long."""
    text = "true" if value is True else "false" if value is False else "null" if value is None else repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
