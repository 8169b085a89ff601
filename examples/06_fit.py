"""A budget in, the best file out, for a task of your own: own module, own loaders, own loss and metric. A minute.

Each digit has three labels (even, above four, prime), all of which may be true: a multi-label task.
"""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

import prunelle.fit
from prunelle.data.load import load_task
from prunelle.data.task import Split, Task
from prunelle.runs import Run
from prunelle.train.optimizers import Adam
from prunelle.train.settings import TrainSettings
from prunelle.train.stage import Train

LABELS = torch.tensor([[d % 2 == 0, d > 4, d in (2, 3, 5, 7)] for d in range(10)]).float()


def loader(split: Split, shuffled: bool = False) -> DataLoader:
    images, digits = next(iter(split.epoch(len(split))))
    return DataLoader(TensorDataset(images, LABELS[digits]), batch_size=64, shuffle=shuffled)


def all_right(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs > 0) == (targets > 0.5)).all(dim=1).float()


def main() -> None:
    torch.set_num_threads(1)
    out, digits = Path(tempfile.mkdtemp()), load_task("digits")
    task = Task.from_loaders(
        loader(digits.train, shuffled=True), loader(digits.val), loader(digits.test), input_shape=digits.input_shape,
        num_classes=3, loss=binary_cross_entropy_with_logits, metric=all_right, name="three questions",
    )  # fmt: skip
    side = digits.input_shape[1]
    net = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(32 * (side // 2) ** 2, 128), nn.ReLU(), nn.Linear(128, 3))  # fmt: skip
    net = Train(TrainSettings(20, 2e-3, optimizer=Adam()))(net, task, Run.open(out, {"example": 6}, 0))

    found = prunelle.fit(net, task, out=out / "fit", max_ratio=0.8, max_drop=1.0, minutes=0.7)
    test = found.result["test"]
    print(f"{'kept' if found.met else 'not kept'}: {found.result['chosen']['name']}")
    print(f"all three right: {100 * test['top1_dense']:.1f} -> {100 * test['top1']:.1f} % of {test['num_test']} images")
    image = next(iter(task.test.epoch(1)))[0]
    print(f"{found.folder.name} answers {[round(v, 2) for v in found.load()(image)[0].tolist()]}; see {found.report}")


if __name__ == "__main__":
    main()
