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


def check_shared(making: Making, shared_macs: float) -> None:
    """Raises SettingError where nothing would be trained, or where members would not be smaller."""
    cutting = making.cutting
    if making.training is None:
        raise SettingError(f"shared_macs is {shared_macs} and members are not trained; leave it out, or train them.")
    if not 0 < shared_macs <= 1 or (cutting.target_macs is not None and shared_macs <= cutting.target_macs):
        above = cutting.target_macs or 0
        raise SettingError(
            f"shared_macs is {shared_macs}, must be above {above} and at most 1: members are cut from it."
        )
    if cutting.latency is not None and cutting.latency.ratio is not None:
        raise SettingError(
            f"shared_macs is {shared_macs} and members are cut to a share of the time before their cut, which would be "
            "the shared network's; give a time in milliseconds, or target_macs."
        )


def with_shared(
    shop: Shop,
    target_macs: float,
    seed: int,
    engine_of: Callable[[Shop], AbstractContextManager[Engine]],
    look: Callable[[nn.Module], Look],
    watch: Callable[[str, float], None],
) -> tuple[Found, Shop]:
    """The shared network made, unless it stands, and the shop whose members are cut from it.

    target_macs: share of the whole network's multiply-adds. engine_of: workers that hold a shop. look: reads a network
    as `look.look_at` does. watch: is told what is going on, and the share that is done. Raises what `split.make_all`
    raises.
    """
    trial = Trial(SHARED, seed, (tuple(range(shop.task.num_classes)),))
    first = with_answers(shop_for_shared(shop, target_macs), [trial], seed, watch)
    with engine_of(first) as engine:
        make_all([trial], first, engine, lambda: watch("shared network", standing([trial], first)[1]))
    watch("looking at the shared network", 1.0)
    return answer(trial, first), shop_from_shared(shop, first, trial, look)


def shop_for_shared(shop: Shop, target_macs: float) -> Shop:
    """The shop in which the shared network is made. target_macs: share of the whole network's multiply-adds."""
    cutting = replace(shop.making.cutting, target_macs=target_macs, latency=None, apoz=None, mean=None)
    return replace(shop, making=replace(shop.making, cutting=cutting))


def shop_from_shared(shop: Shop, first: Shop, trial: Trial, look: Callable[[nn.Module], Look]) -> Shop:
    """The shop in which members are cut from the shared network and taught by the whole one.

    The shared network and what it gave up are kept in OUT/shared. first: of `shop_for_shared`, where `trial` stands.
    Members' multiply-adds stay shares of the whole network's. Raises CorruptFileError, DiskError.
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
        answers=first.answers,
    )
