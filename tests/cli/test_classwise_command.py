"""prunelle classwise, and run of a class-wise recipe, from the line that is typed to what is printed."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile.verdict import refused

from prunelle.cli.classwise import groups_of
from prunelle.cli.main import answer
from prunelle.errors import SettingError
from prunelle.models.members import Members
from prunelle.models.save import load
from prunelle.recipes import classwise_figures, classwising
from prunelle.recipes.classwising import Asked
from prunelle.recipes.names import recipe_from_file
from prunelle.recipes.sweeping import Here

pytest.importorskip("sklearn", reason="needs prunelle[demo]")
pytest.importorskip("jinja2", reason="needs prunelle[report]")
pytestmark = pytest.mark.usefixtures("one_thread")
Capture = pytest.CaptureFixture[str]
KEYS = {"whole", "combined", "members", "rows", "confusion", "groups", "grouping", "speed", "trials", "saved", "files"}
LINE = "classwise {whole} --data digits --groups 3 --grouping similar --epochs 1 --lr 0.02 --workers 1"


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process and without a clock: one split, below, is made and timed as users have it."""

    @contextlib.contextmanager
    def engine(asked: Asked, shop: Any) -> Iterator[Here]:
        yield Here(shop)

    monkeypatch.setattr(classwising, "engine_of", engine)
    untimed = {"latency_ms": None, "latency_runtime": None}
    monkeypatch.setattr(classwise_figures, "timed", lambda split, asked: ([], [untimed] * len(split.joined.members)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows digits somewhat."""
    out = tmp_path_factory.mktemp("whole") / "net"
    with contextlib.redirect_stdout(io.StringIO()):
        line = f"train lenet5_small --data digits --epochs 3 --set lr=0.005 --threads 1 --out {out}"
        assert answer(line.split()) == 0
    return out


@pytest.fixture(scope="module")
def split(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Any]:
    """(OUT, the line, what --json told)."""
    out = tmp_path_factory.mktemp("split") / "out"
    line = f"{LINE.format(whole=whole)} --out {out}"
    heard = io.StringIO()
    race, alone = classwise_figures.race, classwise_figures.alone
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(heard):
        patch.setattr(classwise_figures, "race", lambda contest, runtime: race(contest, runtime, 0.01, 1))
        patch.setattr(classwise_figures, "alone", lambda contest, runtime: alone(contest, runtime, 0.01, 1))
        assert answer([*line.split(), "--json"]) == 0
    return out, line, json.loads(heard.getvalue())


def said(line: str, capsys: Capture) -> str:
    capsys.readouterr()
    assert answer(line.split()) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_the_contract(split: tuple[Path, str, Any]) -> None:
    out, _, found = split
    assert found.keys() >= KEYS and len(found["members"]) == 3 and found["grouping"] == "similar"
    assert sorted(c for group in found["groups"] for c in group) == list(range(10))
    assert all(row["macs_share"] <= 0.5 for row in found["members"])
    assert found["combined"]["macs"] == sum(row["macs"] for row in found["members"])
    assert {row["what"] for row in found["speed"]} >= {"members side by side", "members one after another"}
    assert all(row["runtime"] == "eager" and row["ms"] > 0 for row in found["speed"])
    for file in found["files"]:
        assert Path(file["path"]).stat().st_size == file["bytes"] > 0
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    model = load(out)
    assert isinstance(model, Members) and model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_each_member_tells_how_long_it_takes_by_itself(split: tuple[Path, str, Any]) -> None:
    out, _, told = split
    assert all(row["latency_ms"] > 0 and row["latency_runtime"] == "eager" for row in told["members"])
    assert (out / "members.csv").read_text().splitlines()[1].endswith(",eager")


def test_out_is_a_model_for_every_other_verb(split: tuple[Path, str, Any], capsys: Capture) -> None:
    out, _, found = split
    card = json.loads(said(f"measure {out} --data digits --threads 1 --json", capsys))
    assert card["top1"] == found["combined"]["top1"]
    assert (card["params"], card["macs"]) == (found["combined"]["params"], found["combined"]["macs"])
    one = json.loads(said(f"measure {out}/members/0 --threads 1 --json", capsys))
    assert one["params"] == found["members"][0]["params"]


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != "report.html"}


def test_a_second_start_tells_the_same_and_changes_nothing(split: tuple[Path, str, Any], capsys: Capture) -> None:
    out, line, found = split
    before = files_of(out)
    assert json.loads(said(f"{line} --json", capsys)) | {"files": []} == found | {"files": []}
    assert files_of(out) == before
    shown = said(line, capsys)
    assert "own against others, test" in shown and "members side by side" in shown
    assert f"together {100 * found['combined']['top1']:.2f} % on 400 test images" in shown


def test_the_same_line_elsewhere_gives_the_same_network(
    split: tuple[Path, str, Any], tmp_path: Path, capsys: Capture
) -> None:
    out, line, _ = split
    said(line.replace(str(out), str(tmp_path / "out")), capsys)
    for name in ("model.safetensors", "model.json", "members/2/model.safetensors", "look.json"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()


def test_other_settings_in_the_same_folder_are_refused(split: tuple[Path, str, Any]) -> None:
    out, line, _ = split
    before = files_of(out)
    for other in ("--target-macs 0.4", "--epochs 2", "--seed 1", "--grouping kmeans", "--groups 2", "--as-one"):
        assert refused([*line.split(), *other.split()]) is None
    assert files_of(out) == before


def test_a_dry_run_writes_nothing(whole: Path, tmp_path: Path, capsys: Capture) -> None:
    line = f"{LINE.format(whole=whole)} --out {tmp_path}/o --dry-run"
    planned = json.loads(said(f"{line} --json", capsys))
    assert len(planned["groups"]) == 3 and planned["num_trainings"] == planned["member_epochs"] == 3
    shown = said(f"{line} --as-one", capsys)
    assert "would be made" in shown and "trainings" in shown and "4" in shown
    assert not list(tmp_path.iterdir())


def test_members_need_not_leave_early_and_a_time_is_a_target(whole: Path, tmp_path: Path, capsys: Capture) -> None:
    line = f"{LINE.format(whole=whole)} --patience 0 --target-ms 1000 --dry-run --json --out {tmp_path / 'o'}"
    assert json.loads(said(line, capsys))["num_trainings"] == 3


def test_zero_epochs_only_cut(whole: Path, tmp_path: Path, capsys: Capture) -> None:
    line = f"classwise {whole} --data digits --groups 0,1,2,3,4/5,6,7,8/9 --epochs 0 --workers 1 --out {tmp_path}/o"
    found = json.loads(said(f"{line} --json", capsys))
    assert found["groups"] == [[0, 1, 2, 3, 4], [5, 6, 7, 8], [9]] and found["grouping"] == "given"
    assert found["saved"] is None and all(row["epochs"] == 0 for row in found["members"])
    assert not list((tmp_path / "o" / "runs").glob("*/train.checkpoint"))


BAD = {
    "--groups 1": "--groups is 1, must be at least 2; correct it.",
    "--groups 11": "--groups 11: must be 2 to 10, the number of classes",
    "--groups two": "--groups 'two': must be how many, or class numbers such as 0,1,2/3,4",
    "--groups 0,1,2": "must be how many, or class numbers such as 0,1,2/3,4",
    "--groups 0,1/2,x": "must be how many, or class numbers",
    "--groups 0,1,2,3,4/5,6,7,8": "--groups: 9 classes are named, digits has 10; name each once",
    "--groups 0,1,2,3,4/5,6,7,9": "must hold each class from 0 on once",
    "--groups 0,1,2,3,4/4,5,6,7,8,9": "must hold each class from 0 on once",
    "--groups 0,1//2,3": "must be how many, or class numbers",
    "--grouping sorted": "--grouping 'sorted': must be one of kmeans, similar, dissimilar, random, consecutive",
    "--grouping kmean": "did you mean 'kmeans'",
    "--similarity looks": "--similarity 'looks': must be one of features, candidates",
    "--score best": "--score 'best': must be one of taylor, activity",
    "--runtime eagre": "--runtime 'eagre': must be one of eager",
    "--choose-on test": "--choose-on 'test': must be one of val, test-half",
    "--target-macs 0": "--target-macs is 0.0, must be above 0; leave it out for 0.5.",
    "--target-macs 1.5": "--target-macs is 1.5, must be at most 1; leave it out for 0.5.",
    "--target-macs nan": "--target-macs is nan, must be",
    "--shared-macs 0": "--shared-macs is 0.0, must be above 0",
    "--shared-macs .5": "shared_macs is 0.5, must be above target_macs, 0.5",
    "--shared-macs .7 --epochs 0": "goes with training alone",
    "--shared-macs .7 --shared-epochs 0": "--shared-epochs",
    "--shared-epochs 3": "--shared-epochs 3: is of the network that --shared-macs asks for; set both.",
    "--shared-macs .7 --shared-epochs 2000000": "--shared-epochs is 2000000, must be",
    "--shared-macs .7 --shared-epochs 3 --lr 0": "--lr is 0.0, must be above 0",
    "--audit --patience 0": "audit is true and no member can leave early; set patience, or leave it out",
    "--audit --epochs 0": "audit is true and no member can leave early",
    "--target-latency 1": "--target-latency is 1.0, must be below 1",
    "--target-ms 0": "--target-ms is 0.0, must be above 0",
    "--target-macs 0.5 --target-ms 2": "give one target",
    "--target-latency 0.5 --target-ms 2": "give one target",
    "--target-ms 2 --score activity": "which a target of time cannot follow",
    "--epochs -1": "--epochs",
    "--multiple 0": "--multiple",
    "--lr 0": "--lr is 0.0, must be above 0",
    "--precision fp64": "--precision is 'fp64', must be one of",
    "--workers 0": "workers",
    "--data digit": "digit",
    "--device cuda:x": "cuda:x",
    "--out {whole}": "choose another folder",
}


@pytest.mark.parametrize("words", BAD)
def test_what_cannot_be_meant_is_refused_in_one_sentence(words: str, whole: Path, tmp_path: Path) -> None:
    line = f"classwise {whole} --data digits --workers 1 --out {tmp_path}/o {words.format(whole=whole)}".split()
    assert refused(line) is None
    heard = io.StringIO()
    with contextlib.redirect_stderr(heard):
        answer(line)
    assert BAD[words] in heard.getvalue()
    assert not list(tmp_path.iterdir())


def test_a_network_of_other_classes_and_a_strangers_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(f"open('{tmp_path}/ran', 'w')\ndef make():\n    pass\n")
    lines = [
        f"classwise {tmp_path}/net.py:make --data digits --workers 1 --out {tmp_path}/o",
        f"classwise classwise:0/1:{tmp_path}/net.py:make --data digits --workers 1 --out {tmp_path}/o",
        f"classwise lenet6 --data digits --workers 1 --out {tmp_path}/o",
    ]
    assert [refused(line.split()) for line in lines] == [None] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["net.py"]


def test_a_split_network_is_no_network_to_split_again(split: tuple[Path, str, Any], tmp_path: Path) -> None:
    """Its outputs come from several heads."""
    out, _, _ = split
    assert refused(f"classwise {out} --data digits --workers 1 --out {tmp_path}/o".split()) is None


def test_run_of_a_recipe_file(whole: Path, tmp_path: Path, capsys: Capture) -> None:
    told = {
        "kind": "classwise",
        "name": "mine",
        "model": str(whole),
        "data": "digits",
        "groups": 2,
        "groupings": ["random", "kmeans"],
        "training": None,
        "repair": [],
        "look_images": 256,
    }
    (tmp_path / "mine.json").write_text(json.dumps(told))
    line = f"run {tmp_path}/mine.json --workers 1 --seed 4 --out {tmp_path}/o"
    found = json.loads(said(f"{line} --json", capsys))
    assert [(row["grouping"], row["seed"]) for row in found["trials"]] == [("random", 4), ("kmeans", 4)]
    assert len(found["groupings"]) == 2
    assert recipe_from_file(tmp_path / "mine.json").name == "mine"
    assert refused([*line.split(), "--threads", "2"]) is None
    shutil.rmtree(tmp_path / "o")
    assert json.loads(said(f"{line} --dry-run --json", capsys))["num_trainings"] >= 2
    assert not (tmp_path / "o").exists()


def test_words_for_groups() -> None:
    assert groups_of("7") == 7 and groups_of("0, 1/2") == ((0, 1), (2,))
    with pytest.raises(SettingError, match="--groups '0,1'"):
        groups_of("0,1")
