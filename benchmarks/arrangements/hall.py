"""Processes that train when they are told, so that arrangements take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

import torch

from arrangements.loop import Loop
from arrangements.nets import MEMBERS, NETS, RULES, Case, Cell, endless, starts_of
from prunelle.data.load import load_task
from prunelle.data.task import Batch
from prunelle.models.load import build
from prunelle.tickets.fused import FusedTrainer
from prunelle.tickets.sparse_training import SparseTrainer
from prunelle.tickets.trainer import PlainTrainer

TRAINERS: dict[str, Callable[..., Any]] = {"plain": PlainTrainer, "fused": FusedTrainer, "sparse": SparseTrainer}


def serve(pipe: Connection, gate: Any, net: str, data_dir: str | None, file: str, part: slice) -> None:
    """A process: builds what a case needs when it is told, then trains so many steps each time it is asked."""
    torch.set_num_threads(1)
    task = load_task(NETS[net].data, data_dir=data_dir, augment=False)
    model = build(net)
    weights = torch.load(file, weights_only=True)
    made: dict[str, Any] = {}
    case, batches = None, list[Iterator[Batch]]()
    while True:
        said = pipe.recv()
        if said is None:
            return
        if isinstance(said, Case):
            case, made = said, {}
            starts = starts_of(model, weights, case)[part]
            orders = [n % case.orders for n in range(MEMBERS)][part]
            made["loop"] = Loop(model, starts, RULES[case.optimizer], task.input_shape)
            for side in NETS[net].sides:
                made[side] = TRAINERS[side](model, starts, RULES[case.optimizer], task.input_shape)
            batches = [endless(task, seed) for seed in range(case.orders)]
            pipe.send("ready")
            continue
        cell, steps = said
        torch.set_num_threads(cell.threads)
        assert case is not None
        if cell.processes > 1:
            gate.wait()
        begun = perf_counter()
        if cell.side == "loop":
            for member, order in enumerate(orders):
                made["loop"].train_(member, batches[order], case.lr, steps)
        else:
            for _ in range(steps):
                drawn = {order: next(batches[order]) for order in set(orders)}
                made[cell.side].step_([drawn[o] for o in orders], [case.lr] * len(orders), [0] * len(orders))
        pipe.send((begun, perf_counter()))


class Hall:
    """Three processes: one with all members, two with half of them each. Final."""

    def __init__(self, net: str, data_dir: str | None, file: str) -> None:
        context = get_context("spawn")
        self.gate = context.Barrier(2)  # held, or it is gone before the processes have it
        half = MEMBERS // 2
        self.pipes, self.processes = [], []
        for part in (slice(0, MEMBERS), slice(0, half), slice(half, MEMBERS)):
            mine, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, self.gate, net, data_dir, file, part), daemon=True)
            process.start()
            self.pipes.append(mine)
            self.processes.append(process)

    def open_(self, case: Case) -> None:
        for pipe in self.pipes:
            pipe.send(case)
        for pipe in self.pipes:
            assert pipe.recv() == "ready"

    def rate(self, cell: Cell, steps: int) -> float:
        """Model-steps a second."""
        pipes = self.pipes[:1] if cell.processes == 1 else self.pipes[1:]
        for pipe in pipes:
            pipe.send((cell, steps))
        times = [pipe.recv() for pipe in pipes]
        return MEMBERS * steps / (max(end for _, end in times) - min(begin for begin, _ in times))

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join()
