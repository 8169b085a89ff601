"""Whatever is wrong with a command line or a recipe is said in one sentence before any data is read."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path

import pytest
from hostile.verdict import refused

from prunelle.cli.usage import usage_sentence
from prunelle.data import load
from prunelle.errors import SettingError
from prunelle.recipes import execute, measure, sweeping
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

    for module in (load, execute, measure, sweeping):
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
    "gradual, fpgm, channels_latency, lottery_lenet, lottery_resnet20, lottery_mobilenetv2, "
    "classwise_resnet20, classwise_mobilenetv2, classwise_vgg19, or a .json file.",
    "sweep han2015 --out o": "'han2015': has no grid to search; take lottery_lenet, lottery_resnet20, "
    "lottery_mobilenetv2, or `prunelle run han2015`.",
    "plan quickstart --workers 2": "'quickstart': has no grid to search; take lottery_lenet, lottery_resnet20, "
    "lottery_mobilenetv2, or `prunelle run quickstart`.",
    "sweep lottery_lenet --out o --set mask=3": "--set mask: lottery_lenet has no such setting, did you mean 'masks'?; "
    "it has data, model, masks, rewinds, epochs, seeds, iterative, controls, lr, patience, audit, arrangement.",
    "sweep lottery_lenet --out o --set masks=51": "lottery_lenet: --set masks is 51, must be at most 50; correct it.",
    "sweep lottery_lenet --out o --set epochs=2": "lottery_lenet: rewinds: the last point is epoch 2 and the training "
    "has 2; take earlier points or more epochs.",
    'sweep lottery_lenet --out o --set controls=["lr","lr"]': "lottery_lenet: controls is ('lr', 'lr'); "
    "name each once.",
    "sweep lottery_resnet20 --out o --set kept=[0.1,0.5]": "lottery_resnet20: kept is (0.1, 0.5), must fall: "
    "each share below the one before.",
    "sweep lottery_resnet20 --out o --set rewinds=[1,0]": "lottery_resnet20: rewinds is (1.0, 0.0), must rise: "
    "each epoch after the one before.",
    "sweep lottery_lenet --out o --engine rai": "--engine 'rai': must be local or ray, did you mean 'ray'?; "
    "pass one of them.",
    "sweep lottery_lenet --out o --set data=digits --device cuda --workers 3": "--workers 3: on cuda one process "
    "trains many members at once; leave it out.",
    "classwise lenet5 --data digits --out o --groups 1": "--groups is 1, must be at least 2; correct it.",
    "classwise lenet5 --data digits --out o --target-macs 2": "--target-macs is 2.0, must be at most 1; leave it out "
    "for 0.5.",
    "classwise lenet5 --data digits --out o --grouping kmean": "--grouping 'kmean': must be one of kmeans, similar, "
    "dissimilar, random, consecutive, did you mean 'kmeans'?; pass one of them.",
    "run classwise_resnet20 --out o --threads 4": "--threads 4: members are trained by processes of one thread; "
    "leave it out.",
    "run lottery_lenet --out o --threads 4": "--threads 4: tickets are trained by processes of one thread; "
    "leave it out.",
    "plan lottery_lenet": "Missing option '--workers'; see prunelle plan --help.",
    "plan lottery_lenet --workers 0": "--workers is '0', must be at least 1; see prunelle plan --help.",
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
            wrong_type = None if isinstance(parameter.default, bool) else True
            for value in (10**9, -1, wrong_type, "3", float("nan")):
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


TICKETS = {
    "kind": "tickets",
    "name": "mine",
    "model": "lenet_300_100",
    "data": "digits",
    "training": {"epochs": 2},
    "kept": [0.5, 0.2],
    "rewinds": [0, 1],
    "seeds": [0],
}
TRAINING = {"epochs": 2}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"kind": "ticket"},
            "kind is 'ticket', must be 'tickets' or 'classwise'; leave it out for an experiment of cells.",
        ),
        ({"kept": [0.5, 0.5]}, "kept is (0.5, 0.5), must fall: each share below the one before."),
        ({"kept": [1, 0.5]}, "kept.0 is 1, must be below 1; correct it."),
        (
            {"rewinds": [0, 2]},
            "rewinds: the last point is epoch 2 and the training has 2; take earlier points or more epochs.",
        ),
        ({"seeds": [1, 1]}, "seeds is (1, 1); name each once."),
        (
            {"controls": ["dense"]},
            "controls.0 is 'dense', must be one of 'random', 'shuffled', 'reinit', 'lr', 'finetune' or 'twin'; "
            "correct it.",
        ),
        (
            {"training": TRAINING | {"patience": 3}},
            "training: patience and target are for single trainings; set retiring instead.",
        ),
        (
            {"training": TRAINING | {"distill": 0.5}},
            "training: distill is 0.5 and a ticket has no teacher; leave it out.",
        ),
        (
            {"training": TRAINING | {"precision": "fp16"}},
            "training: precision is fp16, whose loss scaling tickets lack; take bf16 or fp32.",
        ),
        ({"retiring": {"gap": 0}}, "retiring.gap is 0, must be above 0; or leave it out."),
        (
            {"retiring": {"patienc": 3}},
            "retiring.patienc: is no setting here, did you mean 'patience'?; there are "
            "patience, min_gain, gap, grace, audit.",
        ),
        ({"iterative": 1}, "iterative is 1, must be true or false; leave it out for False."),
    ],
)
def test_what_is_said_of_a_file_of_tickets(
    tmp_path: Path, no_data: None, capsys: pytest.CaptureFixture[str], changed: dict, said: str
) -> None:
    from prunelle.cli.main import answer

    path = tmp_path / "mine.json"
    path.write_text(json.dumps(TICKETS | changed))
    for verb in (["sweep", str(path), "--out", str(tmp_path / "o")], ["plan", str(path), "--workers", "2"]):
        assert answer(verb) == 2
        assert capsys.readouterr().err == f"prunelle: {path}: {said}\n"


def test_more_workers_than_cores_are_refused_before_data_is_read(
    tmp_path: Path, no_data: None, capsys: pytest.CaptureFixture[str]
) -> None:
    from prunelle.cli.main import answer

    for more in ([], ["--dry-run"]):
        line = [
            "sweep",
            "lottery_lenet",
            "--set",
            "data=digits",
            "--workers",
            "999",
            "--out",
            str(tmp_path / "o"),
            *more,
        ]
        assert answer(line) == 2
        assert "--workers 999: this machine gives" in capsys.readouterr().err and not (tmp_path / "o").exists()


def test_ray_is_not_left_out_in_silence(tmp_path: Path, no_data: None, capsys: pytest.CaptureFixture[str]) -> None:
    from prunelle.cli.main import answer

    line = ["sweep", "lottery_lenet", "--engine", "ray", "--device", "cuda", "--out", str(tmp_path / "o")]
    assert answer(line) == 2
    said = "prunelle: --engine ray: on cuda one process of this machine does the work; leave it out.\n"
    assert capsys.readouterr().err == said
