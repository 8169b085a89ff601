"""The lines that make a search, or one of its candidates, again: of the shell, or of Python where it began there."""

from __future__ import annotations

import shlex
from typing import Any

from prunelle.fit.budget import Budget
from prunelle.fit.entry import Entry
from prunelle.fit.folder import Folder
from prunelle.fit.outcome import Place


def search_again(budget: Budget, chosen: Entry, place: Place) -> str:
    """The line that searches again, in another folder: in its own the search is found done."""
    if place.candidate is not None:
        return make_again(chosen, place)
    limits = {"max_ms": budget.max_ms, "max_ratio": budget.max_ratio, "max_kb": budget.max_kb,
              "max_drop": budget.max_drop}  # fmt: skip
    given = {name: value for name, value in limits.items() if value is not None}
    more = {"minutes": place.minutes, "seed": place.seed or None, "threads": place.threads, "runtimes": place.formats}
    return line(place, f"{place.out}-again", given | {name: value for name, value in more.items() if value})


def make_again(one: Entry, place: Place) -> str:
    """The line that makes this candidate alone. It reads the row of OUT; the folder it writes is another."""
    seed = {"seed": place.seed} if place.seed else {}
    row = str(Folder(place.out).row(one))
    return line(place, f"{place.out}-{one.candidate.id}", {**seed, "candidate": row})


def line(place: Place, out: str, settings: dict[str, Any]) -> str:
    """settings: by the names of `prunelle.fit`."""
    if place.python:
        return (
            f"prunelle.fit({', '.join([*place.words, *(f'{k}={v!r}' for k, v in settings.items()), f'out={out!r}'])})"
        )
    words = ["prunelle", "fit", place.model, *(["--data", place.data] if place.data else []), *place.words]
    for name, value in settings.items():
        if name == "seed" and "--seed" in words:
            continue
        option = "--max-ms" if name == "max_ratio" else f"--{name.replace('_', '-')}"
        words += [option, in_words(value) + ("x" if name == "max_ratio" else "")]
    return shlex.join([*words, "--out", out])


def in_words(value: Any) -> str:
    """As typed.

    >>> in_words(0.5), in_words(20.0), in_words(("native", "onnx"))
    ('0.5', '20', 'native,onnx')
    """
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)
