"""Cutting channels of a MODEL without any data: plan, cut, hold against the masked network, save.

OUT/model.*         the cut network
OUT/channels.json   what was asked for and what came of it, sealed
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from prunelle.errors import ModelError, WorkError
from prunelle.files import atomic_write, make_folder, write_sealed_json
from prunelle.graph.sets import Frozen, analyse
from prunelle.graph.trace import trace
from prunelle.measure.macs import count_macs
from prunelle.measure.params import count_params
from prunelle.models.names import Shape
from prunelle.models.open import OpenedModel
from prunelle.models.save import copy_saved, load, save, size_bytes
from prunelle.recipes.check import check_cut_out, is_folder, nearest
from prunelle.recipes.slimming import Asked, Slimmed, example, open_asked, slim
from prunelle.recipes.verify import Verdict, verify

CLAIM = "channels.json"


def cut_channels(asked: Asked, out: Path, *, trust: bool = False, verified: bool = False) -> dict[str, Any]:
    """Cut the model that was asked for and save it in `out`; nothing is written where that fails.

    Returns plain values: params, MACs (of one image) and bytes before and after, sets, what is frozen and why, and
    with `verified` the verdict; where that is bad, `out` is left as it was.
    Raises what opening the model raises, WorkError where it cannot be cut, RunConflictError, DiskError.
    """
    check_cut_out(out, CLAIM, asked.to_json())
    opened, shape = open_asked(asked, trust)
    try:
        found = slim(opened, shape, asked.stage, asked.seed)
    except WorkError as error:
        if not verified:
            raise
        return failed(asked.model, opened, shape, str(error))
    with staged(out) as folder:
        write(found, folder)
        told = figures(found, folder, asked.model)
        if verified:
            verdict = checked(found, folder, trust, asked.seed)
            told = verdict.to_json() | told
            if not verdict.ok:
                return told
        elif not reloads(found, folder, trust):
            raise WorkError(f"{asked.model}: saved and loaded it is another network; it was not kept.")
        write_sealed_json(folder / CLAIM, {"asked": asked.to_json(), "found": told})
        put(folder, out)
    return told


def failed(model: str, opened: OpenedModel, shape: Shape, why: str) -> dict[str, Any]:
    """The figures of a network that cannot be cut."""
    try:
        frozen = told(analyse(opened.model, trace(opened.model, example(shape))).frozen)
    except ModelError:
        frozen = []
    return {
        "ok": False,
        "max_rel_err": None,
        "problems": [why],
        "model": model,
        "params_before": count_params(opened.model).params,
        "params_after": None,
        "macs_before": count_macs(opened.model, torch.zeros(1, *shape)).total,
        "macs_after": None,
        "seconds": None,
        "frozen": frozen,
    }


def dry_cut(asked: Asked, trust: bool = False) -> dict[str, Any]:
    """What `cut_channels` would do, nothing written: {plan, minutes, disk_bytes, params_after, macs_after, frozen}."""
    opened, shape = open_asked(asked, trust)
    found = slim(opened, shape, asked.stage, asked.seed)
    params = count_params(found.model).params
    image = torch.zeros(1, *shape)
    return {
        "plan": f"{asked.model}: cut {len(found.plan.cuts.tensors)} tensors of {len(found.plan.tied.sets)} sets, save",
        "minutes": found.seconds / 60,
        "disk_bytes": sum(t.numel() * t.element_size() for t in found.model.state_dict().values()),
        "params_after": params,
        "macs_after": count_macs(found.model, image).total,
        "frozen": told(found.plan.frozen),
    }


def write(found: Slimmed, folder: Path) -> None:
    """The cut network as a saved folder."""
    opened = found.opened
    save(
        found.model,
        folder,
        builder=opened.builder,
        preprocessing=opened.preprocessing,
        class_names=opened.class_names,
        cuts=opened.cuts.then(found.plan.cuts),
    )


def checked(found: Slimmed, folder: Path, trust: bool, seed: int) -> Verdict:
    dense = found.opened.model
    return verify(dense, found.plan, found.model, found.shape, lambda: load(folder, trust=trust), seed)


def reloads(found: Slimmed, folder: Path, trust: bool) -> bool:
    """Whether the saved folder gives the same network back, bit for bit."""
    first, second = found.model.state_dict(), load(folder, trust=trust).state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def figures(found: Slimmed, folder: Path, model: str) -> dict[str, Any]:
    """What was before and what is after. folder: where the cut network is saved."""
    image = torch.zeros(1, *found.shape)
    before, after = count_macs(found.opened.model, image), count_macs(found.model, image)
    units = [one.units for one in found.plan.tied.sets]
    removed = found.plan.removed
    return {
        "model": model,
        "params_before": count_params(found.opened.model).params,
        "params_after": count_params(found.model).params,
        "macs_before": before.total,
        "macs_after": after.total,
        "uncounted": sorted(after.uncounted),
        "size_bytes_before": dense_bytes(found, model, folder.parent),
        "size_bytes_after": size_bytes(folder),
        "num_sets": len(units),
        "num_sets_pruned": sum(bool(removed[one].any()) for one in units),
        "channels_before": sum(len(one) for one in units),
        "channels_after": sum(int((~removed[one]).sum()) for one in units),
        "seconds": found.seconds,
        "frozen": told(found.plan.frozen),
    } | ({"latency": found.looks[-1]} if found.looks else {})


def told(frozen: tuple[Frozen, ...] | list[Frozen]) -> list[dict[str, str]]:
    return [{"what": one.what, "why": one.why} for one in frozen]


def dense_bytes(found: Slimmed, model: str, beside: Path) -> int:
    """Bytes of the dense network, saved as the cut one is."""
    if is_folder(model):
        return size_bytes(model)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".dense-") as folder:
        save(found.opened.model, folder, builder=found.opened.builder, cuts=found.opened.cuts)
        return size_bytes(folder)


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder on the disk of `out`, gone afterwards."""
    above = nearest(out.absolute().parent)
    holder = tempfile.TemporaryDirectory(dir=above, prefix=f".{out.name}-", suffix=".tmp")
    with holder as folder:
        made = Path(folder) / "model"
        made.mkdir()
        yield made


def put(folder: Path, out: Path) -> None:
    """Make a finished folder stand at `out`, replacing a network that stands there. Raises DiskError."""
    make_folder(out.parent)
    if not out.exists():
        folder.rename(out)
        return
    copy_saved(folder, out)
    atomic_write(out / CLAIM, (folder / CLAIM).read_bytes())
