"""What every engine promises: jobs as a plain loop would do them, several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Watch = Callable[[], None]
"""Called every half second while jobs run and once at the end, to draw progress. What it raises stops everything."""

Job = Callable[[Any, Any], Any]
"""(job, shared) -> result."""

WATCH_SECONDS = 0.5


def unwatched() -> None:
    """Draws nothing."""


class Engine(Protocol):
    """Workers that stand ready for several calls of `run`.

    Jobs must be idempotent: one whose worker died is begun again on another, also where it had finished but not yet
    said so. What they make therefore goes into Run folders, which any engine can go on with.
    """

    @property
    def workers(self) -> int:
        """How many jobs are done at once, at most."""

    def run(self, function: Job, jobs: Sequence, watch: Watch = unwatched) -> list:
        """function(job, shared) for every job, each in a process with one thread. Results in the jobs' order.

        function: importable by name in another process. jobs, results: plain values; tensors among them are copied.
        The first error is raised when the jobs already begun have ended; the others are not begun. A job that has
        killed its worker three times is such an error, a WorkError.
        """
