"""A module, loaders and a loss of your own: train, prune to 80 % zeros, save, load, compare. About ten seconds."""

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from prunelle.data.task import Task
from prunelle.measure.accuracy import evaluate
from prunelle.models.save import load, save, size_bytes
from prunelle.prune.weights import PruneGradually
from prunelle.runs import Run
from prunelle.train.optimizers import Adam
from prunelle.train.settings import TrainSettings
from prunelle.train.stage import Train


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def loaders() -> list[DataLoader]:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    parts = [TensorDataset(images[own], labels[own]) for own in order.split([1197, 200, 400])]
    return [DataLoader(part, batch_size=64) for part in parts]


def main() -> None:
    torch.set_num_threads(1)
    train, val, test = loaders()
    task = Task.from_loaders(train, val, test, input_shape=(1, 8, 8), num_classes=10)
    out = Path(tempfile.mkdtemp())
    run = Run.open(out / "runs", {"example": 1}, seed=0)
    settings = TrainSettings(epochs=20, lr=2e-3, batch_size=64, optimizer=Adam())
    dense = Train(settings)(network(), task, run)
    pruned = PruneGradually(0.8, settings)(dense, task, run)
    for name, model in (("dense", dense), ("pruned", pruned)):
        save(model, out / name)
        again = load(out / name, model=network())
        found = evaluate(again, task.test, task.loss, task.metric)
        print(f"{name}: {found.top1:.2%} of {len(found.scores)} test images, {size_bytes(out / name):,} bytes")


if __name__ == "__main__":
    main()
