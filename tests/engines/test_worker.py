import threading

import pytest

from prunelle.engines.passing import loads
from prunelle.engines.worker import Queue, Trace, attempt, raised
from prunelle.errors import DataError, WorkError


class Local(Exception):
    """Cannot be built from its text alone."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def test_jobs_come_in_order_and_none_after_the_end() -> None:
    queue = Queue()
    queue.add([(3, "a"), (5, "b")])
    queue.end()
    assert [queue.next(), queue.next(), queue.next()] == [(3, "a"), (5, "b"), None]


def test_what_is_given_back_is_not_begun() -> None:
    queue = Queue()
    queue.add([(3, "a"), (5, "b"), (6, "c")])
    assert queue.next() == (3, "a")
    assert queue.give_back() == [5, 6]
    assert queue.give_back() == []
    queue.end()
    assert queue.next() is None


def test_a_job_is_waited_for() -> None:
    queue = Queue()
    found: list = []
    waiting = threading.Thread(target=lambda: found.append(queue.next()))
    waiting.start()
    queue.add([(1, "a")])
    waiting.join(60)
    assert found == [(1, "a")]


def test_a_result_is_brought() -> None:
    word, body = attempt(lambda: {"a": 1})
    assert (word, loads(body)) == ("done", {"a": 1})


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [DataError("d: no."), KeyError("k"), SystemExit(2)])
def test_an_error_is_brought_with_its_place(error: BaseException) -> None:
    word, body = attempt(lambda: fail(error))
    found = raised(body)
    assert (word, type(found), found.args) == ("failed", type(error), error.args)
    assert isinstance(found.__cause__, Trace) and "in fail" in str(found.__cause__)


@pytest.mark.parametrize("job", [lambda: fail(Local("a", "b")), lambda: threading.Lock()])
def test_what_cannot_travel_is_an_error_that_can(job) -> None:
    word, body = attempt(job)
    assert word == "failed"
    assert isinstance(raised(body), WorkError | TypeError)
