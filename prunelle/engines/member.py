"""What runs in an actor of Ray: a worker whose jobs come by method calls."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial

import numpy as np

from prunelle.engines.worker import ONE_THREAD, Queue, attempt, do


class Member:
    """What runs in an actor: one thread works, another one hands back what is not begun. Final.

    packed: the shared value as `dumps_apart` gives it. path: where the driver looks for modules. place: its working
    folder, which relative paths in jobs are from; a cluster's actors begin where the cluster was started.
    """

    def __init__(self, packed: tuple[bytes, list[np.ndarray]], path: list[str], place: str) -> None:
        os.environ |= ONE_THREAD
        with suppress(OSError):  # it is not there, on a machine that shares other folders
            os.chdir(place)
        sys.path += [place for place in path if place not in sys.path]
        from prunelle.engines.passing import loads

        self.queue = Queue()
        self.queue.end()
        self.shared, self.refused = None, None
        try:
            self.shared = loads(*packed)
        except Exception as error:  # such as a module that cannot be imported here: every job says so
            self.refused = error

    def ready(self) -> None:
        """Is called when it is."""

    def work(self, batch: list[tuple[int, bytes]]) -> list[tuple[int, str, bytes]]:
        """(number, "done" or "failed", result or error) of each job that was begun; after an error none is."""
        import torch

        torch.set_num_threads(1)  # of this thread, which may be another one than before
        self.queue.add(batch)
        told = []
        while (taken := self.queue.next()) is not None:
            number, body = taken
            told.append((number, *attempt(partial(do, body, self.shared, self.refused))))
            if told[-1][1] == "failed":
                self.queue.give_back()
        return told

    def give_back(self) -> list[int]:
        return self.queue.give_back()
