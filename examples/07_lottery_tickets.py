"""Would a tenth of the weights have learned as well from the start? Lottery tickets on digits, in half a minute.

The same by the command line: prunelle sweep lottery_lenet --set data=digits --out DIR
"""

import tempfile
from pathlib import Path

from prunelle.data.load import load_task
from prunelle.engines.local import num_cores, workers_of
from prunelle.schedules import constant
from prunelle.tickets.grid import Grid
from prunelle.tickets.lottery import Lottery, Place
from prunelle.tickets.results import points_of, rows_of, winner
from prunelle.tickets.sweep import sweep
from prunelle.train.optimizers import Adam
from prunelle.train.settings import TrainSettings


def main() -> None:
    task = load_task("digits")
    settings = TrainSettings(epochs=15, lr=2e-3, batch_size=64, optimizer=Adam(), schedule=constant, best_from=0.0)
    grid = Grid(kept=(0.5, 0.2, 0.1), rewinds=(0, 18), seeds=(0, 1, 2), controls=("random", "reinit"))
    # `named` says all that a result depends on and gives each training's folder its name.
    lottery = Lottery("lenet_300_100", {"model": "lenet_300_100", "data": task.fingerprint, "lr": 2e-3}, settings, grid)
    place = Place(Path(tempfile.mkdtemp()))
    with workers_of(min(2, num_cores()), task) as engine:
        swept = sweep(lottery, task, place, engine, watch=lambda what, share: None)

    points = points_of(rows_of(lottery, swept, place, lottery.steps_per_epoch(task)))
    for point in sorted(points, key=lambda one: (one["variant"], -one["kept"], one["rewind"])):
        print(
            f"{point['variant']:8} {100 * point['kept']:5.1f} % kept, rewound to update {point['rewind']:3}: "
            f"{100 * point['test_top1']:.2f} % ({100 * point['gain']:+.2f} against dense)"
        )
    best = winner(swept, points)
    assert best is not None
    print(f"the winning ticket keeps {100 * best.member.kept:.0f} %; everything lies in {place.out}")


if __name__ == "__main__":
    main()
