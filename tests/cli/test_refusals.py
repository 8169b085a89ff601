"""Whatever is wrong with a command line or a recipe is said in one sentence before any data is read."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest
from hostile.verdict import refused

from prunelle.cli.usage import usage_sentence
from prunelle.data import load
from prunelle.errors import SettingError
from prunelle.recipes import execute, measure
from prunelle.recipes.names import RECIPES, recipe_of
from prunelle.recipes.single import prune_recipe, train_recipe

from .mutants import lay_out, mutants

NUM_MUTANTS = 300
"""Of which a third run here; benchmarks/refusals.py runs them all as processes."""


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("refusals")
    lay_out(made)
    return made


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise AssertionError("data was read")

    for module in (load, execute, measure):
        monkeypatch.setattr(module, "load_task", explode)


def test_mutants_are_refused_in_one_sentence_before_data_is_read(
    folder: Path, no_data: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = mutants(folder, NUM_MUTANTS)
    assert len({mutant.arguments for mutant in found}) == NUM_MUTANTS and len({m.kind for m in found}) > 9
    before = files_below(folder)
    wrong = {" ".join(m.arguments): said for m in found[::3] if (said := refused(list(m.arguments)))}
    assert not wrong
    assert files_below(folder) == before


def test_the_lines_that_mutants_are_made_from_get_as_far_as_the_data(
    folder: Path, no_data: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from .mutants import VALID

    monkeypatch.chdir(folder)
    for line in VALID:
        said = refused(list(line))
        assert said and "data was read" in said, (line, said)


SAID = {
    "train lenet5 --data digits --out o --epochs 0": "--epochs is 0, must be at least 1; leave it out for 30.",
    "train lenet5 --data digits --out o --epochs x": "--epochs is 'x', must be a whole number; "
    "see prunelle train --help.",
    "train lenet5 --data digits --out o --seed=-4": "--seed is '-4', must be at least 0; see prunelle train --help.",
    "train lenet5 --data digits --out o --set lr=NaN": "--set lr is nan, must be a finite number; "
    "leave it out for 0.001.",
    "train lenet5 --data digits --out o --set optimizer=adm": "--set optimizer is 'adm', must be one of 'sgd', 'adam' "
    "or 'adamw', did you mean 'adam'?; leave it out for 'adam'.",
    "prune lenet5 --data digits --out o --sparsity 1.3": "--sparsity is 1.3, must be below 1; correct it.",
    "run han2015 --out o --set seeds=true": "han2015: --set seeds is true, must be a whole number; correct it.",
    "run hann2015 --out o": "'hann2015': no such recipe, did you mean 'han2015'?; known are quickstart, han2015, "
    "gradual, fpgm, channels_latency, or a .json file.",
    "measure lenet5 --runtime eagr": "--runtime 'eagr': must be one of eager, compile, onnxruntime, openvino, "
    "native, native16, did you mean 'eager'?; pass one of them.",
    "ship lenet5 --format onxx --out o": "--format 'onxx': must be one of native, onnx, openvino, pt2, packed, "
    "packed-native, auto, did you mean 'onnx'?; correct it.",
    "ship lenet5 --format pt2 --int8 --out o": "--format pt2: comes in fp32, not in int8; "
    "take --format onnx or openvino.",
    "ship lenet5 --format onnx --target wasm32-wasi --out o": "--target: is of --format native, not of onnx; "
    "leave it out.",
    "ship lenet5 --format native --layers --target wasm32-wasi --out o": "--layers: a library for wasm32-wasi does not "
    "run here; leave it out.",
    "ship lenet5 --format onnx --out o --int8 --precision fp32": "--int8 and --precision fp32: exclude each other; "
    "pass one of them.",
    "meazure lenet5": "No such command 'meazure'. Did you mean 'measure'?; see prunelle --help.",
}


@pytest.mark.parametrize("line", SAID)
def test_what_is_said(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    from prunelle.cli.main import answer

    assert answer(line.split()) == 2
    assert capsys.readouterr().err == f"prunelle: {SAID[line]}\n"


@pytest.mark.parametrize("name", RECIPES)
def test_every_number_of_a_recipe_has_limits(name: str) -> None:
    for key, parameter in signature(RECIPES[name]).parameters.items():
        if isinstance(parameter.default, int | float):
            for value in (10**9, -1, True, "3", float("nan")):
                with pytest.raises(SettingError, match=f"--set {key}"):
                    recipe_of(name, {key: value})


def test_other_versions_of_the_parser_are_understood() -> None:
    line = ["train", "--seed", "x"]
    for message in ("Invalid value for '--seed': 'x' is not a valid int.", "Invalid value for '--seed': valid integer"):
        assert usage_sentence(message, line) == "--seed is 'x', must be a whole number; see prunelle train --help."
    said = usage_sentence("Invalid value for '--seed': -1 is not in the range 0<=x<=9.", ["train", "--seed=-1"])
    assert said == "--seed is '-1', must be in [0, 9]; see prunelle train --help."


def test_settings_that_act_nowhere_or_stand_twice_are_refused() -> None:
    with pytest.raises(SettingError, match="is given by --epochs"):
        train_recipe("lenet5", "digits", None, None, 3, 0, {"epochs": 4})
    with pytest.raises(SettingError, match="no training with --epochs 0"):
        prune_recipe("lenet5", "digits", None, None, 0.5, "magnitude", "global", 0, 0, {"lr": 0.1})
    with pytest.raises(SettingError, match="MODEL is ''"):
        train_recipe("", "digits", None, None, 3, 0, {})
