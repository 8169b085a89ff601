"""Members that stand, as one module: saved, opened again, and held to what each of them said."""

from __future__ import annotations

from pathlib import Path

import torch

from prunelle.classwise.member import NETWORK, Shop, opened_member, uncut
from prunelle.classwise.split import Found, outputs_of, run_for
from prunelle.classwise.whole import cuts_of_members, joined
from prunelle.errors import MeasurementError
from prunelle.graph.cuts import Cuts
from prunelle.models.members import Members, combined, places
from prunelle.models.save import load, save

ALIKE = 1e-3
"""By how much what the saved whole says may differ from what its members said: other batch sizes round otherwise."""
LOOKED_AT = 256


def join(found: Found, shop: Shop) -> tuple[Members, Cuts]:
    """The saved members as one module, and its cuts."""
    members, cuts = [], []
    for job in found.trial.jobs:
        cuts.append(Cuts.model_validate(outputs_of(run_for(job, shop))[1]["cuts"]))
        members.append(opened_member(run_for(job, shop).folder / NETWORK, job, shop))
    return joined(members, found.trial.groups, found.calibration), cuts_of_members(shop.whole, cuts)


def save_joined(found: Found, shop: Shop, out: Path) -> Members:
    """Save all members as one MODEL in `out`, and hold what was saved to what the members said.

    Raises MeasurementError where it says something else, DiskError.
    """
    module, cuts = join(found, shop)
    task = shop.task
    save(
        module,
        out,
        builder=shop.whole.builder_of_members(found.trial.groups),
        preprocessing=task.preprocessing,
        class_names=task.class_names,
        cuts=cuts,
    )
    built = None
    if shop.whole.builder is None:
        built = Members([uncut(job, shop) for job in found.trial.jobs], found.trial.groups)
    loaded = load(out, built, trust=True)
    assert isinstance(loaded, Members)
    images, _ = next(iter(task.val.epoch(min(LOOKED_AT, len(task.val)))))
    said = [outputs_of(run_for(job, shop))[0]["val"][: len(images)] for job in found.trial.jobs]
    with torch.no_grad():
        wanted, given = combined(said, found.calibration, places(found.trial.groups)), loaded(images.cpu())
    off = float((wanted - given).abs().max())
    if not off <= ALIKE * max(1.0, float(wanted.abs().max())):
        raise MeasurementError(f"{out}: what was saved answers otherwise than its members did (by {off:.3g}).")
    return loaded
