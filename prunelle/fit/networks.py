"""Networks of a search: each is cut and trained in a run of its own, on top of the one it starts from."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn
from torch.nn.functional import cross_entropy

from prunelle.data.parts import first_of
from prunelle.data.task import Task
from prunelle.fit.candidates import BLOCKS, CHANNELS, ZEROS, Cut
from prunelle.graph.cuts import Cuts
from prunelle.models.save import WEIGHTS, Builder, load, read_folder, save
from prunelle.prune.block_steps import RemoveBlocks
from prunelle.prune.channel_repairs import batch_norm_repair, least_squares_repair
from prunelle.prune.channel_shares import by_cost as channels_by_cost
from prunelle.prune.channel_steps import PruneChannels
from prunelle.prune.select import Scope, over_all
from prunelle.prune.weight_shares import by_cost
from prunelle.prune.weights import PruneGradually, PruneWeights, Retrain
from prunelle.quantize.halves import RoundToHalf
from prunelle.quantize.ptq import QuantizeWeights
from prunelle.quantize.sharing import ShareWeights
from prunelle.runs import Run
from prunelle.steps import Chain, Step
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.precision import FP32, Precision
from prunelle.train.settings import Teacher, TrainSettings

NETWORK = "network"
JUDGED = 256
"""Images by which blocks are chosen, and by which batch norm is estimated for each trial."""
SCOPES: dict[str, Scope] = {"global": over_all, "cost": by_cost}
NORMS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True)
class Brought:
    """The user's network. builder, cuts: as models.save.save takes them; builder is None where only the user can make
    the module. sha256: of its tensors."""

    model: nn.Module
    builder: Builder | None
    cuts: Cuts
    sha256: str


def settings_for(model: nn.Module, task: Task, precision: Precision = FP32) -> TrainSettings:
    """How a trained network is trained on: SGD at .05 with momentum where it has batch norm, else Adam at .001; the
    dense network teaches where the loss is cross entropy. epochs stand for one training."""
    normed = any(isinstance(module, NORMS) for module in model.modules())
    taught = Teacher(model, 4.0, 0.9) if task.loss is cross_entropy else None
    if normed:
        return TrainSettings(1, 0.05, optimizer=Sgd(0.9, 1e-4), precision=precision, teacher=taught)
    return TrainSettings(1, 1e-3, optimizer=Adam(), precision=precision, teacher=taught)


@dataclass(frozen=True)
class Networks:
    """Makes networks and remembers them on disk. training: of every network, its epochs apart."""

    brought: Brought
    task: Task
    out: Path
    training: TrainSettings
    seed: int = 0

    def make(self, cuts: tuple[Cut, ...], epochs: tuple[int, ...]) -> Brought:
        """The network after these cuts and trainings, made unless it stands. Raises what a step raises."""
        if not cuts and not epochs:
            return self.brought
        run = self.run(cuts, epochs)
        folder = run.folder / NETWORK
        if not (folder / WEIGHTS).is_file():  # renamed first: a kill before that leaves a model.json.next of nothing
            with run.locked():
                self.build(cuts, epochs, run, folder)
        model = self.opened(folder)
        return Brought(model, self.brought.builder, read_folder(folder)[0].cuts, self.brought.sha256)

    def opened(self, folder: Path) -> nn.Module:
        if self.brought.builder is not None:
            return load(folder, trust=True)  # the user's own file built the dense network already
        return load(folder, model=self.dense())

    def dense(self) -> nn.Module:
        """A copy of the user's module."""
        return copy.deepcopy(self.brought.model)

    def run(self, cuts: tuple[Cut, ...], epochs: tuple[int, ...]) -> Run:
        settings = {
            "network": self.brought.sha256,
            "data": self.task.fingerprint,
            "cuts": [cut.name for cut in cuts],
            "epochs": list(epochs),
        }
        return Run.open(self.out / "networks", settings, self.seed)

    def build(self, cuts: tuple[Cut, ...], epochs: tuple[int, ...], run: Run, folder: Path) -> None:
        """Cut, or train what stands one training earlier on, and save."""
        done = Cuts()
        if len(epochs) > 1 or (epochs and not rising(cuts)):
            start = self.make(cuts, epochs[:-1])
            model, done = start.model, start.cuts
            if epochs:
                model = Retrain(replace(self.training, epochs=epochs[-1]), "retrain")(model, self.task, run)
        else:
            model, done = self.dense(), self.brought.cuts
            for number, cut in enumerate(cuts):
                step = step_of(
                    cut, f"{number}-{cut.kind}", replace(self.training, epochs=epochs[0]) if epochs else None
                )
                model = step(model, judged(self.task, cut), run)
                if isinstance(step, PruneChannels | RemoveBlocks):
                    done = done.then(step.cuts(run))
            if not epochs:
                model = reestimated(model, self.task, run)
        save(model.cpu(), folder, builder=self.brought.builder, preprocessing=self.task.preprocessing, cuts=done)
        run.drop_checkpoints()

    def finished(self, network: Brought, values: int | None, bits: int | None) -> Brought:
        """The same with shared or few-bit weights, at once, and all else in numbers that 16 bits hold."""
        if values is None and bits is None:
            return network
        run = Run.open(self.out / "networks", {"network": self.brought.sha256, "finish": [values, bits]}, self.seed)
        steps = Chain((QuantizeWeights(bits) if bits else ShareWeights(values or 16), RoundToHalf()))
        return replace(network, model=steps(network.model, self.task, run))


def rising(cuts: tuple[Cut, ...]) -> bool:
    """Whether the first training can let zeros rise instead of starting from all of them."""
    return bool(cuts) and cuts[-1].kind == ZEROS


def step_of(cut: Cut, name: str, settings: TrainSettings | None) -> Step:
    """The step of a cut. settings: of the first training, in which zeros rise; None is one shot."""
    if cut.kind == CHANNELS:
        repairs = (least_squares_repair, batch_norm_repair)
        return PruneChannels(cut.amount, of="macs", scope=channels_by_cost, repairs=repairs, name=name)
    if cut.kind == BLOCKS:
        mend = partial(batch_norm_repair, num_images=JUDGED)
        return RemoveBlocks(macs=cut.amount, retry=1, repairs=(mend,), name=name)
    if settings is not None:
        return PruneGradually(cut.amount, settings, scope=SCOPES[cut.scope], end=0.5, name=name)
    return PruneWeights(cut.amount, scope=SCOPES[cut.scope], name=name)


def judged(task: Task, cut: Cut) -> Task:
    """The task, with fewer validation images where every block is tried on them."""
    return replace(task, val=first_of(task.val, JUDGED)) if cut.kind == BLOCKS else task


def reestimated(model: nn.Module, task: Task, run: Run) -> nn.Module:
    """With batch norm estimated anew, where there is any: zeros change what it sees."""
    if not any(isinstance(module, NORMS) for module in model.modules()):
        return model
    return batch_norm_repair(model, model, Cuts(), task, run.generator("batch norm"))
