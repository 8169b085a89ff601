"""The words of a search for tickets, refused where they cannot work. No torch."""

from __future__ import annotations

from prunelle.engines.local import check_workers, num_cores
from prunelle.errors import SettingError
from prunelle.recipes.check import check_device_word, check_model_word, shape_of
from prunelle.recipes.complaint import meant
from prunelle.recipes.lottery import TicketRecipe

ENGINES = ("local", "ray")


def check_search(recipe: TicketRecipe, data_dir: str | None, trust: bool, engine: str, device: str) -> None:
    """Every word of a search. No torch. Raises SettingError, ModelError, DataError, UntrustedCodeError."""
    from prunelle.data.find import check_data

    if engine not in ENGINES:
        raise SettingError(
            f"--engine {engine!r}: must be {' or '.join(ENGINES)}{meant(engine, ENGINES)}; pass one of them."
        )
    check_device_word(device)
    if engine == "ray" and device != "cpu":
        raise SettingError(f"--engine ray: on {device} one process of this machine does the work; leave it out.")
    check_model_word(recipe.model, None, trust)
    check_data(recipe.data, data_dir)
    shape_of(recipe.data, recipe.input_shape)


def workers_for(workers: int | None, device: str, engine: str) -> int:
    """As many as told, else a process a core; one on a GPU. Raises SettingError for more than `engine` can have."""
    if device != "cpu":
        if workers not in (None, 1):
            raise SettingError(
                f"--workers {workers}: on {device} one process trains many members at once; leave it out."
            )
        return 1
    if workers is None:
        return num_cores()
    if engine == "local":
        check_workers(workers)
    return workers
