"""One network into two that answer in parallel, each for half of the classes: digits, in half a minute.

The same by the command line: prunelle classwise MODEL --data digits --groups 2 --out DIR
"""

import tempfile
from pathlib import Path

import torch
from torch import nn

from prunelle.classwise.call import divide
from prunelle.classwise.cutting import Cutting
from prunelle.classwise.grouping import similar
from prunelle.classwise.member import Making
from prunelle.classwise.running import SideBySide
from prunelle.data.load import load_task
from prunelle.measure.accuracy import evaluate
from prunelle.measure.macs import count_macs
from prunelle.runs import Run
from prunelle.train.optimizers import Adam
from prunelle.train.settings import EarlyStop, TrainSettings
from prunelle.train.stage import Train


def network() -> nn.Module:
    """Any module that torch.export can trace and that ends in a linear layer."""
    layers: list[nn.Module] = []
    for before, after in ((1, 32), (32, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 10))


def main() -> None:
    task = load_task("digits")
    out = Path(tempfile.mkdtemp())
    torch.manual_seed(0)
    training = TrainSettings(10, 2e-3, optimizer=Adam(), early_stop=EarlyStop(patience=2))
    whole = Train(training)(network(), task, Run.open(out, {"what": "whole"}, seed=0))

    making = Making(Cutting(target_macs=0.4), training)
    found = divide(whole, task, out=out / "members", groups=2, grouping=similar, making=making)

    image = next(iter(task.test.epoch(1)))[0]
    dense = count_macs(whole, image).total
    print(f"whole: {100 * evaluate(whole, task.test, task.loss, task.metric).top1:.2f} %")
    for one, member in zip(found.found.members, found.members.members, strict=True):
        share = count_macs(member, image).total / dense
        print(f"classes {one.group}: {share:.2f}x the multiply-adds, left {one.epochs_saved} epochs early")
    print(f"together: {100 * found.found.top1:.2f} %, {found.found.mistakes.across} mistakes across groups")
    with SideBySide(found.members, "eager", image, workers=2) as run:
        print(f"side by side, this image is a {run(image).argmax().item()}")


if __name__ == "__main__":
    main()
