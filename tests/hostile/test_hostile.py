"""A tenth of what benchmarks/hostile.py does."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prunelle.files import EMPTY_SEAL
from prunelle.runs import Run

from .attacks import MARKER, attacks
from .damage import damages, data_targets, experiment, targets
from .folders import honest, resealed
from .verdict import refused

ATTACKS = attacks()
SECONDS = 20


@pytest.fixture(autouse=True)
def no_hanging() -> Iterator[None]:
    """A reader that waits for a pipe would wait for ever."""
    signal.alarm(5 * SECONDS)
    yield
    signal.alarm(0)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("jinja2", reason="needs prunelle[report]")
    return experiment(tmp_path_factory.mktemp("experiment") / "out")


def test_every_damage_to_our_files_is_found(out: Path) -> None:
    found = targets(out)
    assert len({one.path.name for one in found}) == 8
    wrong = [(what, verdict) for what, one in damages(found, 112) if (verdict := one.read())]
    assert not wrong


def test_undamaged_files_are_not_refused(out: Path) -> None:
    assert all(
        one.read() for one in targets(out) if one.path.suffix == ".checkpoint" or one.path.name == "trained.json"
    )


JUNK = (b"[1]\n", b"\xff\xfe\n", b'{"epoch":1}\n', b"3\n", b'{"stage":"dense"', b"[" * 100_000)


def test_torn_lines_of_a_run_that_is_not_done_are_left_out(tmp_path: Path) -> None:
    run = Run.open(tmp_path, {}, 0)
    run.record({"stage": "a", "epoch": 1})
    path = run.folder / "metrics.jsonl"
    content = path.read_bytes()
    for junk in JUNK:
        path.write_bytes(content + junk)
        assert run.rows() == [{"stage": "a", "epoch": 1}]


@pytest.mark.filterwarnings("ignore")
def test_damaged_data_loads_or_is_refused(tmp_path: Path) -> None:
    wrong = [(what, verdict) for what, one in damages(data_targets(tmp_path), 100) if (verdict := one.read())]
    assert not wrong


@pytest.mark.parametrize("name", list(ATTACKS)[::3])
def test_attacks_are_refused_and_run_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(ATTACKS[name](tmp_path)) is None
    assert not (tmp_path / MARKER).exists()
    assert not (tmp_path / "out").exists()


def test_the_attacks_carry_live_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    ATTACKS["pth zip os.system"](tmp_path)
    torch.load("w.pth", weights_only=False)
    assert (tmp_path / MARKER).exists()


def test_a_sealed_change_that_harms_nobody_still_loads(tmp_path: Path) -> None:
    """Else hostile folders would be refused for their seal alone."""
    from prunelle.models.save import read_folder

    resealed(honest(tmp_path / "m") / "model.json", lambda manifest: manifest.update(class_names=["a"]))
    assert read_folder(tmp_path / "m")[0].class_names == ["a"]


CHILD = """
import os, resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from hostile.attacks import attacks
from hostile.verdict import refused
attack = attacks()[{name!r}]
arguments = attack(Path.cwd())
import torch
from prunelle.recipes import experiment, measure
now = int(next(l for l in open("/proc/self/status") if l.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (now + 2**30,) * 2)
print(refused(arguments))
"""


@pytest.mark.parametrize("name", ["pth whose record unpacks to 1 GB", "manifest: 2**24 classes on VGG"])
def test_memory_stays_bounded(name: str, tmp_path: Path) -> None:
    code = CHILD.format(tests=str(Path(__file__).parents[1]), name=name)
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "None", done


CHANGES: dict[str, tuple[str, Callable[[dict], object]]] = {
    "empty card": ("runs/*/card.json", dict.clear),
    "card of schema 99": ("runs/*/card.json", lambda card: card.update(schema_version=99)),
    "card whose layers are numbers": ("runs/*/card.json", lambda card: card.update(layers=[1, 2])),
    "card with text for top1": ("runs/*/card.json", lambda card: card.update(top1="all")),
    "other settings": ("runs/*/settings.json", lambda settings: settings.update(seed=7)),
    "empty claim": ("recipe.json", dict.clear),
    "claim without cells": ("recipe.json", lambda claim: claim["recipe"].update(cells=[])),
    "claim on other data": ("recipe.json", lambda claim: claim["recipe"]["cells"][0].update(data="mnist")),
    "claim with numbers for data": ("recipe.json", lambda claim: claim.update(data=3)),
    "claim that is a list": ("recipe.json", lambda claim: claim.update(recipe=[])),
    "claim with a key": ("recipe.json", lambda claim: claim["recipe"].update(run="rm")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_experiment_sealed_anew_around_nonsense(name: str, out: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(out, tmp_path / "copy")
    pattern, change = CHANGES[name]
    for path in copy.glob(pattern):
        resealed(path, lambda values: (change(values), values.update(seal=EMPTY_SEAL)))
    assert refused(["report", str(copy)]) is None
