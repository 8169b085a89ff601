"""How many updates a second do tickets get, trained one by one, fused, or by their kept weights only?

python benchmarks/tickets_throughput.py [--net lenet_300_100|lenet5|resnet20] [--data-dir DIR] [--rounds 9]
    [--seconds 0.4] [--masks magnitude|random] [--only WORDS] [--json FILE]

16 members of one network, each under a mask of its own: per layer the largest weights after a short dense training, or
random ones. Model-steps a second, drawing the batches included, of a plain PyTorch loop (one ticket after the other,
data in memory, torch.optim with fused=True, masked after each step; with one thread and with two), PlainTrainer,
FusedTrainer and SparseTrainer, each in one process and in two processes of one thread. All members see one order of
the data, as the members of a search do, or each its own where a case says so. Rounds in turns, medians and quartiles.
Bars, best arrangement, same optimizer: lenet_300_100 against the faster loop in one process >= 2.7x at any share kept
and >= 6x at 3.6 %, its weights by SparseTrainer within 1e-5 of PlainTrainer's after 100 updates; other networks not
slower than two plain loops. LeNet-5's are not held so: within 60 updates rounding decides some maximum, and then
PlainTrainer's own leave those of float64 by 1e-4. About 15 minutes a network.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from arrangements.csr import csr_ratio
from arrangements.hall import TRAINERS, Hall
from arrangements.nets import (
    ADAM,
    MEMBERS,
    NETS,
    RULES,
    SGD,
    SPARSEST,
    Case,
    Cell,
    Net,
    cases_of,
    cells_of,
    endless,
    prepared,
    starts_of,
)

from prunelle.data.load import load_task
from prunelle.data.task import Task
from prunelle.models.load import build
from prunelle.tickets.trainer import PlainTrainer

EQUAL = 1e-5


def measure(hall: Hall, case: Case, cells: Sequence[Cell], rounds: int, seconds: float) -> dict[Cell, list[float]]:
    """Model-steps a second of every cell in every round, the cells of a round in a random order."""
    hall.open_(case)
    steps = {}
    for cell in cells:
        hall.rate(cell, 2)
        steps[cell] = max(2, round(seconds * hall.rate(cell, 2) / MEMBERS))
    rates: dict[Cell, list[float]] = {cell: [] for cell in cells}
    order = random.Random(0)
    for _ in range(rounds):
        for cell in order.sample(list(cells), len(cells)):
            rates[cell].append(hall.rate(cell, steps[cell]))
    return rates


def told(case: Case, rates: dict[Cell, list[float]]) -> dict[str, Any]:
    """A row of results: medians, quartiles, ratios to the faster loop in one process and to the one in two."""
    loop = max((c for c in rates if c.side == "loop" and c.processes == 1), key=lambda c: median(rates[c]))
    two = Cell("loop", 2)
    print(f"\n{case.title} (the loop in one process is faster with {loop.threads} thread{'s'[: loop.threads - 1]})")
    row: dict[str, Any] = {"case": case.title, "kept": case.kept, "orders": case.orders, "cells": {}}
    for cell, found in rates.items():
        low, middle, high = quantiles(found, n=4)
        ratios = [a / b for a, b in zip(found, rates[loop], strict=True)]
        apart = [a / b for a, b in zip(found, rates[two], strict=True)]
        least, ratio, most = quantiles(ratios, n=4)
        row["cells"][str(cell)] = {
            "median": middle, "quartiles": [low, high], "to_loop": ratio, "to_loop_quartiles": [least, most],
            "to_two_loops": median(apart),
        }  # fmt: skip
        print(
            f"  {cell!s:28} {middle:8.0f} /s ({low:.0f} to {high:.0f})  {ratio:5.2f}x loop ({least:.2f} to {most:.2f})"
            f"  {median(apart):5.2f}x two loops",
            flush=True,
        )
    return row


def farthest(net: str, task: Task, weights: dict[str, dict], side: str, rule: tuple[str, float], share: float) -> float:
    """The largest difference of any weight from PlainTrainer's after 100 updates of four members."""
    model = build(net)
    case = Case("", *rule, (share,) * 4)
    starts = starts_of(model, weights, case)
    made = [kind(model, starts, RULES[case.optimizer], task.input_shape) for kind in (PlainTrainer, TRAINERS[side])]
    batches = endless(task, 1)
    for _ in range(100):
        drawn = [next(batches)] * 4
        for trainer in made:
            trainer.step_(drawn, [case.lr] * 4, [0] * 4)
    pairs = [(a, b) for n in range(4) for a, b in zip(*(t.tensors(n).values() for t in made), strict=True)]
    return max(float((a - b).abs().max()) for a, b in pairs)


def judged(net: Net, rows: list[dict[str, Any]], differences: dict[str, float]) -> list[str]:
    """The bars that were missed."""
    missed = []
    for row in rows:
        best = max(row["cells"].values(), key=lambda cell: cell["median"])
        if net.bar is None:
            if best["to_two_loops"] < 1:
                missed.append(f"{row['case']}: {best['to_two_loops']:.2f}x two plain processes, bar 1x")
            continue
        bar = net.sparse_bar if net.sparse_bar and max(row["kept"]) <= SPARSEST else net.bar
        if best["to_loop"] < bar:
            missed.append(f"{row['case']}: {best['to_loop']:.2f}x the loop, bar {bar}x")
    return missed + [f"{name}: off by {off:.1e}, bar {EQUAL}" for name, off in differences.items() if not off <= EQUAL]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=list(NETS), default="lenet_300_100")
    parser.add_argument("--data-dir")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.4, help="of one turn of one arrangement")
    parser.add_argument("--masks", choices=("magnitude", "random"), default="magnitude")
    parser.add_argument("--only", help="cases whose title holds this")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    net = NETS[asked.net]
    task = load_task(net.data, data_dir=asked.data_dir, augment=False)
    weights = prepared(asked.net, task, asked.masks)
    differences, csr = {}, {}
    if net.sparse_bar:
        for rule in (ADAM, SGD):
            for share in (SPARSEST, 0.2):
                name = f"sparse, {rule[0]}, {100 * share:g} % kept"
                differences[name] = farthest(asked.net, task, weights, "sparse", rule, share)
                print(f"{name}: weights off by {differences[name]:.1e} after 100 updates", flush=True)
        for share in net.shares if net.sparse_bar else ():
            start = starts_of(build(asked.net), weights, Case("", *SGD, (share,)))[0]
            ratio = csr_ratio(build(asked.net), start, next(endless(task, 0)), asked.seconds)
            csr[share] = ratio
            print(f"torch's sparse CSR, {100 * share:g} % kept: its products alone take {ratio:.1f}x an update in C")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        torch.save(weights, file := str(Path(folder) / "weights.pt"))
        hall = Hall(asked.net, asked.data_dir, file)
        for case in cases_of(net):
            if asked.only is None or asked.only in case.title:
                rates = measure(hall, case, cells_of(net), asked.rounds, asked.seconds)
                rows.append(told(case, rates))
        hall.close()
    missed = judged(net, rows, differences)
    print("\nmissed:", "; ".join(missed) or "none")
    if asked.json:
        where = {"machine": platform.machine(), "torch": torch.__version__, "masks": asked.masks}
        found = {**where, "differences": differences, "csr": csr, "rows": rows, "missed": missed}
        asked.json.write_text(json.dumps(found, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
