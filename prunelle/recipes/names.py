"""The experiments that go by a name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError, validate_call

from prunelle.errors import CorruptFileError, SettingError
from prunelle.files import read_bytes
from prunelle.recipes.channels_latency import channels_latency
from prunelle.recipes.classwise import ClasswiseRecipe
from prunelle.recipes.classwise_mobilenetv2 import classwise_mobilenetv2
from prunelle.recipes.classwise_resnet20 import classwise_resnet20
from prunelle.recipes.classwise_vgg19 import classwise_vgg19
from prunelle.recipes.complaint import meant, sentence
from prunelle.recipes.fpgm import fpgm
from prunelle.recipes.gradual import gradual
from prunelle.recipes.han2015 import han2015
from prunelle.recipes.lottery import TicketRecipe
from prunelle.recipes.lottery_lenet import lottery_lenet
from prunelle.recipes.lottery_mobilenetv2 import lottery_mobilenetv2
from prunelle.recipes.lottery_resnet20 import lottery_resnet20
from prunelle.recipes.quickstart import quickstart
from prunelle.recipes.settings import Recipe

AnyRecipe = Recipe | TicketRecipe | ClasswiseRecipe
Shiftable = TypeVar("Shiftable", Recipe, TicketRecipe, ClasswiseRecipe, AnyRecipe)
KINDS: Mapping[str | None, type[AnyRecipe]] = {None: Recipe, "tickets": TicketRecipe, "classwise": ClasswiseRecipe}
"""What the "kind" of a .json file says it holds."""
RECIPES: Mapping[str, Callable[..., AnyRecipe]] = {
    "quickstart": quickstart,
    "han2015": han2015,
    "gradual": gradual,
    "fpgm": fpgm,
    "channels_latency": channels_latency,
    "lottery_lenet": lottery_lenet,
    "lottery_resnet20": lottery_resnet20,
    "lottery_mobilenetv2": lottery_mobilenetv2,
    "classwise_resnet20": classwise_resnet20,
    "classwise_mobilenetv2": classwise_mobilenetv2,
    "classwise_vgg19": classwise_vgg19,
}
LARGEST_SEED = 2**31
LARGEST_RECIPE_BYTES = 2**20


def recipe_of(name_or_file: str, settings: Mapping[str, object]) -> AnyRecipe:
    """A named recipe with some of its arguments set, or the one in a JSON file.

    Raises SettingError: an unknown name, key or value, with its place and what is allowed.
    """
    if name_or_file.endswith(".json"):
        if settings:
            raise SettingError(f"--set: {name_or_file} holds all its settings; edit the file instead.")
        return recipe_from_file(Path(name_or_file))
    function = RECIPES.get(name_or_file)
    if function is None:
        hint = meant(name_or_file, RECIPES)
        raise SettingError(f"{name_or_file!r}: no such recipe{hint}; known are {', '.join(RECIPES)}, or a .json file.")
    allowed = list(signature(function).parameters)
    for key in settings:
        if key not in allowed:
            raise SettingError(
                f"--set {key}: {name_or_file} has no such setting{meant(key, allowed)}; it has {', '.join(allowed)}."
            )
    try:
        return validate_call(function)(**settings)
    except ValidationError as error:
        words = sentence(error, spell=lambda place: f"--set {place}" if place.split(".")[0] in allowed else place)
        raise SettingError(f"{name_or_file}: {words}.") from None


def recipe_from_file(path: Path) -> AnyRecipe:
    """What the file holds: a search for tickets or a class-wise split where its "kind" says so, else an experiment.

    Raises SettingError when the file is absent, no JSON, or no recipe.
    """
    try:
        raw = read_bytes(path, LARGEST_RECIPE_BYTES)
    except CorruptFileError as error:
        raise SettingError(f"{str(error).split(';')[0]}; give a recipe's name or .json file.") from None
    try:
        values = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        reason = "a number has thousands of digits" if "int_max_str_digits" in str(error) else error
        raise SettingError(f"{path}: is not JSON ({reason}); correct it there.") from None
    kind = values.get("kind") if isinstance(values, dict) else None
    if not (kind is None or isinstance(kind, str)) or kind not in KINDS:
        raise SettingError(
            f"{path}: kind is {kind!r:.80}, must be 'tickets' or 'classwise'; leave it out for an experiment of cells."
        )
    recipe = KINDS[kind]
    try:
        return recipe.model_validate(values)
    except ValidationError as error:
        raise SettingError(f"{path}: {sentence(error, recipe)}.") from None


def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; of a key that stands there twice nobody knows which is meant. Raises ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
    return found


def shifted(recipe: Shiftable, seed: int) -> Shiftable:
    """The recipe with `seed` added to each of its seeds. Raises SettingError where one would be 2**31 or more."""
    if max(recipe.seeds) + seed >= LARGEST_SEED:
        raise SettingError(f"--seed {seed}: makes seeds of {LARGEST_SEED} and above; pass a smaller one.")
    return recipe.model_copy(update={"seeds": tuple(one + seed for one in recipe.seeds)})


def tickets_of(name_or_file: str, settings: Mapping[str, object], seed: int) -> TicketRecipe:
    """A recipe that has a grid. Raises SettingError for one that has none, and as `recipe_of`."""
    recipe = shifted(recipe_of(name_or_file, settings), seed)
    if not isinstance(recipe, TicketRecipe):
        named = [name for name in RECIPES if name.startswith("lottery")]
        raise SettingError(
            f"{name_or_file!r}: has no grid to search; take {', '.join(named)}, or `prunelle run {name_or_file}`."
        )
    return recipe
