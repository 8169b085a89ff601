"""One network for all classes, cut and trained first; members are then cut from it, the rest of the way.

A member that keeps a third of a network has lost too much at once to be mended by a few epochs of its own images. What
all of them give up is given up once, on all images.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from torch import nn

from prunelle.classwise.cutting import Evidence
from prunelle.classwise.look import Look
from prunelle.classwise.member import CANDIDATES, NETWORK, SHARED, Making, Shop
from prunelle.classwise.split import Found, Trial, answer, make_all, run_for, standing, with_answers
from prunelle.classwise.whole import Whole
from prunelle.engines.engine import Engine
from prunelle.errors import SettingError
from prunelle.files import atomic_write, read_bytes
from prunelle.models.save import copy_saved, load, read_folder


def check_shared(making: Making, shared: Making) -> None:
    """Raises SettingError where nothing would be trained, or where members would not be smaller.

    making: of the members. shared: of what they are cut from.
    """
    if making.training is None or shared.training is None:
        raise SettingError("shared: goes with training alone; leave it out, or train both it and the members.")
    if making.cutting.latency is not None and making.cutting.latency.ratio is not None:
        raise SettingError(
            "shared: members are cut to a share of the time before their cut, which would be the shared network's; "
            "give a time in milliseconds, or target_macs."
        )
    macs, above = shared.cutting.target_macs, making.cutting.target_macs
    if macs is not None and above is not None and macs <= above:
        raise SettingError(
            f"shared: its target_macs is {macs}, must be above the members', {above}: they are cut from it; change one."
        )


def with_shared(
    shop: Shop,
    making: Making,
    seed: int,
    engine_of: Callable[[Shop], AbstractContextManager[Engine]],
    look: Callable[[nn.Module], Look],
    watch: Callable[[str, float], None],
) -> tuple[Found, Shop]:
    """The shared network made, unless it stands, and the shop whose members are cut from it.

    making: of the shared network. engine_of: workers that hold a shop. look: reads a network as `look.look_at` does.
    watch: is told what is going on, and the share that is done. Raises what `split.make_all` raises.
    """
    trial = Trial(SHARED, seed, (tuple(range(shop.task.num_classes)),))
    first = with_answers(replace(shop, making=making), [trial], seed, watch)
    with engine_of(first) as engine:
        make_all([trial], first, engine, lambda: watch("shared network", standing([trial], first)[1]))
    watch("looking at the shared network", 1.0)
    return answer(trial, first), shop_from_shared(shop, first, trial, look)


def asks_alike(one: Making, other: Making) -> bool:
    """Whether two trainings are taught by the same answers, see split.with_answers."""
    assert one.training is not None and other.training is not None
    return one.num_views == other.num_views and one.training.precision == other.training.precision


def shop_from_shared(shop: Shop, first: Shop, trial: Trial, look: Callable[[nn.Module], Look]) -> Shop:
    """The shop in which members are cut from the shared network and taught by the whole one.

    The shared network and what it gave up are kept in OUT/shared. first: the shop where `trial` stands. Members'
    multiply-adds stay shares of the whole network's. Raises CorruptFileError, DiskError.
    """
    run, kept = run_for(trial.jobs[0], first).folder, shop.out / SHARED
    folder = run / NETWORK
    copy_saved(folder, kept)
    atomic_write(kept / CANDIDATES, read_bytes(run / CANDIDATES))
    manifest, _ = read_folder(folder)
    own = None if manifest.builder is not None else load(folder, shop.whole.open(), trust=True)
    whole = Whole(folder, manifest.builder, manifest.cuts, own)
    found = look(whole.open())
    return replace(
        shop,
        whole=whole,
        teacher=shop.whole,
        head=found.head,
        evidence=Evidence(found.activations, shop.evidence.macs, found.carried),
        named={**shop.named, SHARED: "/".join(manifest.files.values())},
        answers=first.answers if asks_alike(first.making, shop.making) else None,
    )
