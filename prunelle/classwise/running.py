"""Members side by side: one image goes to all of them at once, each in a process of one thread.

A process that waits looks at shared memory again and again for a while, because waking a sleeping one takes longer
than a small network does; then it sleeps.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunelle.errors import ShapeError, WorkError
from prunelle.models.members import Members
from prunelle.ship.runtimes import load_runtime

SPIN_SECONDS = 0.02
"""How long a process looks for the next image before it sleeps."""
NAP_SECONDS = 0.5
START_SECONDS = 300.0
SAID, DONE = 0, 1
"""Places in the shared counters: images handed out, images answered."""


class SideBySide:
    """The members of a class-wise network, shared out among processes of one thread; this one takes its part. Final.

    model: on the CPU. runtime: a word of ship.names.RUNTIMES. example: (1, C, H, W), what images look like, and what
    16 bits are fitted to. workers: processes in all, this one among them. Called with one image it gives the outputs
    (1, classes) of `Members.forward`. To be closed, or used in a `with`.
    Raises WorkError where a process dies, ShapeError for another image.
    """

    def __init__(self, model: Members, runtime: str, example: Tensor, workers: int) -> None:
        self.model, self.example = model, example
        widths = [member(example[:1]).shape[1] for member in model.members]
        shares = shared_out([cost(member) for member in model.members], min(workers, len(widths)))
        self.shape = tuple(example[:1].shape)
        context = multiprocessing.get_context("spawn")
        self.images = context.RawArray("f", example[:1].numel())
        self.input = np.frombuffer(self.images, np.float32)
        self.mine = runs_of(model, shares[0], runtime, example)
        self.others = [Other(context, model, share, runtime, example, self.images, widths) for share in shares[1:]]
        try:
            for other in self.others:
                other.wait_until_ready()
        except BaseException:
            self.close()
            raise

    def __call__(self, images: Tensor) -> Tensor:
        if tuple(images.shape) != self.shape:
            raise ShapeError(f"members: images are {tuple(images.shape)}, must be {self.shape}: one at a time.")
        self.input[:] = images.numpy().reshape(-1)
        for other in self.others:
            other.tell()
        outputs: dict[int, Tensor] = {number: run(images) for number, run in self.mine}
        for other in self.others:
            outputs |= other.answer()
        return self.model.combine([outputs[number] for number in range(len(outputs))])

    def close(self) -> None:
        for other in self.others:
            other.end()

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Other:
    """This process's side of another one. Final."""

    def __init__(
        self,
        context: Any,
        model: Members,
        share: Sequence[int],
        runtime: str,
        example: Tensor,
        images: Any,
        widths: Sequence[int],
    ) -> None:
        self.share = share
        self.ends = np.cumsum([0, *(widths[number] for number in share)])
        self.counters = context.RawArray("q", 2)
        self.results = context.RawArray("f", int(self.ends[-1]))
        self.said = np.frombuffer(self.counters, np.int64)
        self.outputs = np.frombuffer(self.results, np.float32)
        self.pipe, theirs = context.Pipe()
        nets = [(number, model.members[number]) for number in share]
        given = (theirs, nets, runtime, example, images, self.counters, self.results)
        self.process = context.Process(target=work, args=given, daemon=True)
        self.process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        if not self.pipe.poll(START_SECONDS) or self.received() != "ready":
            self.end()
            raise WorkError(
                "members: a process could not open its networks; see what it wrote above; a script of your own must "
                'start its work below `if __name__ == "__main__":`.'
            )

    def received(self) -> object:
        with suppress(EOFError, OSError):
            return self.pipe.recv()
        return None

    def tell(self) -> None:
        self.said[SAID] += 1
        with suppress(OSError):
            self.pipe.send_bytes(b"")  # for one that sleeps

    def answer(self) -> dict[int, Tensor]:
        """Outputs (1, k + 1) by number of the member. Raises WorkError."""
        looks = 0
        while self.said[DONE] != self.said[SAID]:
            looks += 1
            if looks % 1000 == 0 and not self.process.is_alive():
                raise WorkError("members: a process died; open the network again.")
        found = torch.from_numpy(self.outputs.copy())
        return {n: found[self.ends[i] : self.ends[i + 1]][None] for i, n in enumerate(self.share)}

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def work(pipe: Connection, nets: Sequence[tuple[int, nn.Module]], runtime: str, example: Tensor, *shared: Any) -> None:
    """What the other process does: answer images until nobody is at the pipe's other end."""
    torch.set_num_threads(1)
    images, counters, results = shared
    said, outputs = np.frombuffer(counters, np.int64), np.frombuffer(results, np.float32)
    image = torch.from_numpy(np.frombuffer(images, np.float32)).view(1, *example.shape[1:])
    runs = [load_runtime(runtime)(net, example, 1) for _, net in nets]
    with suppress(EOFError, OSError, KeyboardInterrupt):
        pipe.send("ready")
        while True:
            wait_for_more(said, pipe)
            np.concatenate([run(image)[0].numpy() for run in runs], out=outputs)
            said[DONE] += 1
            while pipe.poll():
                pipe.recv_bytes()


def wait_for_more(said: NDArray[np.int64], pipe: Connection) -> None:
    """Return when there is an image: looked for at first, then slept for. Raises EOFError when the parent is gone."""
    until = time.monotonic() + SPIN_SECONDS
    looks = 0
    while said[SAID] == said[DONE]:
        looks += 1
        if looks % 200 == 0 and time.monotonic() > until:
            if pipe.poll(NAP_SECONDS):
                pipe.recv_bytes()
            until = time.monotonic() + SPIN_SECONDS


def runs_of(
    model: Members, share: Sequence[int], runtime: str, example: Tensor
) -> list[tuple[int, Callable[[Tensor], Tensor]]]:
    return [(number, load_runtime(runtime)(model.members[number], example, 1)) for number in share]


def cost(member: nn.Module) -> int:
    """By which members are shared out."""
    return sum(parameter.numel() for parameter in member.parameters())


def shared_out(costs: Sequence[float], workers: int) -> list[list[int]]:
    """Numbers of the members of each worker: the dearest first, each to whoever has least.

    >>> shared_out([3.0, 1.0, 2.0], 2)
    [[0], [2, 1]]
    """
    shares: list[list[int]] = [[] for _ in range(workers)]
    load = [0.0] * workers
    for number in sorted(range(len(costs)), key=lambda n: -costs[n]):
        least = load.index(min(load))
        shares[least].append(number)
        load[least] += costs[number]
    return shares
