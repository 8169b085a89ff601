"""The experiments that go by a name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path

from pydantic import ValidationError, validate_call

from prunelle.errors import SettingError
from prunelle.recipes.gradual import gradual
from prunelle.recipes.han2015 import han2015
from prunelle.recipes.quickstart import quickstart
from prunelle.recipes.settings import Recipe

RECIPES: Mapping[str, Callable[..., Recipe]] = {"quickstart": quickstart, "han2015": han2015, "gradual": gradual}
LARGEST_RECIPE_BYTES = 2**20


def recipe_of(name_or_file: str, settings: Mapping[str, object]) -> Recipe:
    """A named recipe with some of its arguments set, or the one in a JSON file.

    Raises SettingError: an unknown name, key or value, with its place and what is allowed.
    """
    if name_or_file.endswith(".json"):
        if settings:
            raise SettingError(f"--set: {name_or_file} holds all its settings; edit the file instead.")
        return recipe_from_file(Path(name_or_file))
    function = RECIPES.get(name_or_file)
    if function is None:
        raise SettingError(f"{name_or_file!r}: no such recipe; known are {', '.join(RECIPES)}, or a .json file.")
    allowed = list(signature(function).parameters)
    for key in settings:
        if key not in allowed:
            raise SettingError(f"--set {key}: {name_or_file} has no such setting; it has {', '.join(allowed)}.")
    try:
        return validate_call(function)(**settings)
    except ValidationError as error:
        raise SettingError(f"{name_or_file}: {sentence(error)}.") from None


def recipe_from_file(path: Path) -> Recipe:
    """Raises SettingError when the file is absent, no JSON, or no recipe."""
    try:
        if path.stat().st_size > LARGEST_RECIPE_BYTES:
            raise SettingError(f"{path}: is over {LARGEST_RECIPE_BYTES} bytes; a recipe is smaller.")
        values = json.loads(path.read_text())
    except OSError as error:
        raise SettingError(f"{path}: cannot be read ({error.strerror}); give a recipe's name or .json file.") from None
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{path}: is not JSON ({error}).") from None
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise SettingError(f"{path}: {sentence(error)}.") from None


def sentence(error: ValidationError) -> str:
    """The first complaint as 'place: what came, what is allowed', and how many more there are."""
    first, *more = error.errors(include_url=False)
    place = ".".join(map(str, first["loc"])) or "recipe"
    came = "" if first["type"] == "missing" else f" is {first['input']!r:.80}"
    rest = f" (and {len(more)} more)" if more else ""
    return f"{place}{came}: {first['msg']}{rest}"
