"""Which epoch's weights are taken, and when a training stops early: decided on val, written down in its progress."""

from __future__ import annotations

from prunelle.train.progress import Progress
from prunelle.train.settings import TrainSettings


def choose_(progress: Progress, settings: TrainSettings, epoch: int, val: float) -> bool:
    """Take down what val says after an epoch, and stop where told to. Returns whether this epoch's weights are those to
    be given, as things stand.

    epoch: from 0. val: a fraction. After it has stopped a training that is audited goes on; nothing is chosen then.
    """
    stop, taken = settings.early_stop, False
    if progress.stopped_epoch is not None:
        return False
    better = val > progress.best_val or (stop is not None and not stop.restore_best)
    if better and (stop or epoch + 1 >= settings.best_from * settings.epochs):
        progress.best_val, progress.best_epoch = val, epoch + 1
        taken = stop is not None or settings.best_from < 1
    if stop and val > progress.gain_val + stop.min_gain:
        progress.gain_val, progress.gain_epoch = val, epoch + 1
    if stop and epoch + 1 < settings.epochs:
        waited = stop.patience is not None and epoch + 1 - progress.gain_epoch >= stop.patience
        reached = stop.target is not None and val >= stop.target
        progress.stopped_epoch = epoch + 1 if waited or reached else None
    return taken
