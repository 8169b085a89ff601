import pytest

from prunelle.engines.ledger import LARGEST_BATCH, MOST_DEATHS, Ledger
from prunelle.errors import WorkError


def drained(ledger: Ledger, workers: tuple[str, ...]) -> list[list[int]]:
    """All batches when workers take turns and finish what they take at once; results are the numbers doubled."""
    batches = []
    while ledger.num_open:
        for worker in workers:
            batch = ledger.batch(worker)
            for number in batch:
                ledger.finish(worker, number, 2 * number)
            batches += [batch] if batch else []
    return batches


def results(ledger: Ledger) -> list:
    return ledger.drive(lambda seconds: pytest.fail("nothing is open"), lambda: None)


def test_batches_shrink_to_one_by_hand() -> None:
    ledger: Ledger[str] = Ledger(12, workers=2)
    # A quarter of what waits: 12 // 4, 9 // 4, 7 // 4, ...
    assert drained(ledger, ("a", "b")) == [[0, 1, 2], [3, 4], [5], [6], [7], [8], [9], [10], [11]]
    assert results(ledger) == [2 * number for number in range(12)]


def test_a_batch_has_a_limit() -> None:
    ledger: Ledger[str] = Ledger(1000, workers=2)
    assert len(ledger.batch("a")) == LARGEST_BATCH


def test_no_jobs_are_done() -> None:
    ledger: Ledger[str] = Ledger(0, workers=1)
    assert (ledger.num_open, ledger.batch("a"), results(ledger)) == (0, [], [])


def test_a_worker_with_jobs_gets_no_more() -> None:
    ledger: Ledger[str] = Ledger(12, workers=1)
    assert ledger.batch("a") and ledger.batch("a") == []


def test_an_idle_worker_gets_what_another_has_not_begun() -> None:
    ledger: Ledger[str] = Ledger(8, workers=2)
    assert ledger.batch("a") == [0, 1]
    assert ledger.to_ask() == []  # six wait
    for number in range(2, 8):
        assert ledger.batch("b") == [number]
        ledger.finish("b", number, None)
    assert ledger.to_ask() == ["a"]
    ledger.give_back("a", [1])
    assert ledger.batch("b") == [1]
    assert ledger.to_ask() == []


def test_nobody_is_asked_while_all_are_busy() -> None:
    ledger: Ledger[str] = Ledger(8, workers=2)
    assert ledger.batch("a") == [0, 1]
    for number in range(2, 7):
        ledger.finish("b", *ledger.batch("b"), number)
    assert ledger.batch("b") == [7]
    assert ledger.to_ask() == []


def test_the_first_error_stops_all_that_has_not_begun() -> None:
    ledger: Ledger[str] = Ledger(100, workers=2)
    ledger.batch("a"), ledger.batch("b")
    ledger.fail("a", 3, ValueError("first"))
    assert ledger.to_ask() == ["b"]
    ledger.give_back("b", list(range(17, 32)))
    assert ledger.num_open == 1  # the one that b has begun
    ledger.fail("b", 16, ValueError("second"))
    assert ledger.num_open == 0
    with pytest.raises(ValueError, match="first"):
        results(ledger)


def test_what_a_worker_does_not_hold_any_more_is_not_given_back() -> None:
    ledger: Ledger[str] = Ledger(1, workers=1)
    ledger.finish("a", *ledger.batch("a"), None)
    ledger.give_back("a", [0])
    ledger.give_back("unknown", [0])
    assert ledger.num_open == 0


def test_jobs_of_a_dead_worker_go_to_others_and_the_blamed_one_alone() -> None:
    ledger: Ledger[str] = Ledger(16, workers=2)
    assert ledger.batch("a") == [0, 1, 2, 3]
    ledger.finish("a", 0, None)
    ledger.bury("a")
    assert ledger.num_open == 15
    assert ledger.batch("b") == [1]
    assert ledger.batch("c") == [2, 3, 4]


def test_a_worker_that_dies_idle_blames_nobody() -> None:
    ledger: Ledger[str] = Ledger(1, workers=1)
    for _ in range(2 * MOST_DEATHS):
        ledger.bury("a")
    assert ledger.batch("a") == [0]
    assert ledger.error is None


def test_a_job_that_kills_three_workers_is_an_error() -> None:
    ledger: Ledger[str] = Ledger(2, workers=1)
    for name in "abc":
        assert ledger.error is None
        assert ledger.batch(name) == [0]
        ledger.bury(name)
    assert ledger.num_open == 0
    with pytest.raises(WorkError) as caught:
        results(ledger)
    assert str(caught.value) == (
        "job 1 of 2: its worker process was killed 3 times, by hand or for want of memory; finished runs are kept: "
        "start the same command again, with fewer --workers if memory is short."
    )


def test_jobs_of_a_worker_that_dies_after_an_error_are_dropped() -> None:
    ledger: Ledger[str] = Ledger(2, workers=2)
    ledger.batch("a"), ledger.batch("b")
    ledger.fail("a", 0, ValueError("first"))
    ledger.bury("b")
    assert ledger.num_open == 0
