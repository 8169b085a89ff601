from dataclasses import replace
from pathlib import Path

import pytest

from prunelle.fit.budget import Budget, budget_for
from prunelle.fit.candidates import Candidate
from prunelle.fit.commands import make_again, search_again
from prunelle.fit.entry import Entry
from prunelle.fit.outcome import Place

ONE = Entry(Candidate((), (), "native", "fp32"), "fit")
ID = ONE.candidate.id
SHELL = Place(Path("o"), minutes=5, formats=("native", "onnx"), threads=1, seed=3, model="a b", data="d",
              words=("--weights", "w"))  # fmt: skip
PYTHON = replace(SHELL, words=("model", "task"), python=True)
BUDGET = Budget(max_ratio=0.5, max_kb=50)


def test_the_command_searches_again_in_another_folder():
    assert search_again(BUDGET, ONE, SHELL) == (
        "prunelle fit 'a b' --data d --weights w --max-ms 0.5x --max-kb 50 --minutes 5 --seed 3 --threads 1 "
        "--runtimes native,onnx --out o-again"
    )
    assert search_again(BUDGET, ONE, replace(SHELL, words=("--seed", "3"))).count("--seed") == 1
    plain = Place(Path("o"), model="m")
    assert search_again(Budget(max_drop=0.0), ONE, plain) == "prunelle fit m --max-drop 0 --minutes 20 --out o-again"


def test_a_search_that_began_in_python_is_told_in_python():
    assert search_again(BUDGET, ONE, PYTHON) == (
        "prunelle.fit(model, task, max_ratio=0.5, max_kb=50, minutes=5, seed=3, threads=1, "
        "runtimes=('native', 'onnx'), out='o-again')"
    )
    assert make_again(ONE, PYTHON) == (f"prunelle.fit(model, task, seed=3, candidate='o/rows/{ID}.json', out='o-{ID}')")


@pytest.mark.parametrize(("final", "row"), [(False, f"{ID}.json"), (True, f"{ID}-final.json")])
def test_the_row_that_is_named_is_the_one_there_is(final, row):
    """Of a candidate that was made alone there is no look."""
    words = f"prunelle fit 'a b' --data d --weights w --seed 3 --candidate o/rows/{row} --out o-{ID}"
    one = replace(ONE, final=final)
    assert make_again(one, SHELL) == words
    assert search_again(BUDGET, one, replace(SHELL, candidate=one.candidate)) == words


def test_a_candidate_made_alone_needs_no_limit():
    assert budget_for(True, max_ms=None, max_kb=None) == Budget(max_drop=100.0)
    assert budget_for(True, max_kb=3.0) == budget_for(False, max_kb=3.0) == Budget(max_kb=3.0)
