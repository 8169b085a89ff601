"""An experiment's folder, read again."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from prunelle.errors import CorruptFileError, WorkError
from prunelle.files import read_sealed_json
from prunelle.recipes.cards import card_of, row
from prunelle.recipes.execute import open_run
from prunelle.recipes.experiment import Finished, choose
from prunelle.recipes.plan import Place, plan
from prunelle.recipes.settings import Recipe


def reopen(out: Path, data_dir: str | None, trust: bool) -> tuple[Recipe, Finished, Place]:
    """What stands in `out`. Runs that are not done are left out; none done raises WorkError.

    Raises CorruptFileError when recipe.json is not ours.
    """
    claim = read_sealed_json(out / "recipe.json")
    try:
        recipe = Recipe.model_validate(claim["recipe"])
        planned = plan(recipe, claim["data"], claim["brought"])
    except (ValidationError, KeyError, TypeError):
        raise CorruptFileError(f"{out / 'recipe.json'}: holds no recipe of this version.") from None
    place = Place(out, data_dir, trust=trust, command=str(claim.get("command", "")))
    done = [one for one in planned if open_run(one, place).done]
    if not done:
        raise WorkError(f"{out}: no run is finished yet; start the command that made it again.")
    rows = [row(one, place) for one in done]
    cards = [card_of(open_run(one, place)) for one in done]
    return recipe, Finished(done, rows, cards, choose(done, rows)), place
