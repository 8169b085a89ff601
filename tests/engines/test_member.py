import os
import sys
from pathlib import Path

import pytest
import torch

from prunelle.engines.member import Member
from prunelle.engines.passing import dumps, dumps_apart, loads
from prunelle.engines.worker import ONE_THREAD, raised

# Each test sets this process's threads.
pytestmark = pytest.mark.usefixtures("one_thread", "environment")


@pytest.fixture
def environment(monkeypatch) -> None:
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "2")
    monkeypatch.setattr(sys, "path", list(sys.path))


def add(job: int, shared: dict) -> float:
    return job + float(shared["numbers"].sum())


def divide(job: int, shared: object) -> float:
    return 6 / job


def member(value: object, path: list[str] | None = None) -> Member:
    body, arrays = dumps_apart(value)
    return Member((body, [bytes(array) for array in arrays]), path or [], os.getcwd())


def test_jobs_are_done_in_order_with_what_is_shared() -> None:
    made = member({"numbers": torch.ones(4)})
    told = made.work([(7, dumps((add, 1))), (9, dumps((add, 2)))])
    assert [(number, word, loads(body)) for number, word, body in told] == [(7, "done", 5.0), (9, "done", 6.0)]
    assert made.work([]) == []
    assert torch.get_num_threads() == 1 and {os.environ[name] for name in ONE_THREAD} == {"1"}


def test_nothing_is_begun_after_an_error() -> None:
    told = member(None).work([(number, dumps((divide, number))) for number in (2, 0, 3)])
    assert [(number, word) for number, word, _ in told] == [(2, "done"), (0, "failed")]
    assert isinstance(raised(told[1][2]), ZeroDivisionError)


def test_what_is_not_begun_is_handed_back() -> None:
    made = member(None)
    made.queue.add([(1, b""), (2, b"")])
    assert made.give_back() == [1, 2]
    assert made.work([]) == []


def test_a_shared_value_that_cannot_be_read_is_every_jobs_error() -> None:
    made = Member((b"cno_such_module\nname\n.", []), [], os.getcwd())
    ((_, word, body),) = made.work([(0, dumps((divide, 1)))])
    assert word == "failed" and isinstance(raised(body), ModuleNotFoundError)


def test_modules_are_found_where_the_driver_finds_them(tmp_path: Path) -> None:
    known = len(sys.path)
    member(None, [str(tmp_path), sys.path[0]])
    assert sys.path[known:] == [str(tmp_path)]


def test_relative_paths_are_from_where_the_driver_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(os.getcwd())  # so that this process comes back
    packed = (dumps_apart(None)[0], [])
    Member(packed, [], str(tmp_path))
    assert Path.cwd() == tmp_path
    Member(packed, [], str(tmp_path / "nowhere"))
    assert Path.cwd() == tmp_path
