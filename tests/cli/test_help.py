"""The help of every verb, word for word: what it promises changes only on purpose.

After such a change: PRUNELLE_WRITE_SNAPSHOTS=1 python -m pytest tests/cli/test_help.py
"""

import os
from importlib.metadata import version
from pathlib import Path

import pytest

from prunelle.cli.main import answer, app

VERBS = ["", *(command.callback.__name__ for command in app.registered_commands if command.callback)]
SNAPSHOTS = Path(__file__).parent / "help"


def test_every_verb_of_the_contract_is_there() -> None:
    assert set(VERBS) >= {"quickstart", "inspect", "measure", "train", "prune", "run", "report", "compare", "doctor"}
    assert set(VERBS) >= {"ship", "bench", "fit", "sweep", "plan", "prepare"}


@pytest.mark.skipif(not version("typer").startswith("0.29."), reason="the pages are laid out by typer 0.29")
@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert answer([verb, "--help"] if verb else ["--help"]) == 0
    found = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
    path = SNAPSHOTS / f"{verb or 'prunelle'}.txt"
    if os.environ.get("PRUNELLE_WRITE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
    assert found == path.read_text()


def test_no_arguments_print_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer([]) == 0
    out, err = capsys.readouterr()
    assert "quickstart" in out and err == ""
