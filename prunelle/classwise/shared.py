"""One network for all classes, cut and trained first; members are then cut from it, the rest of the way.

A member that keeps a third of a network has lost too much at once to be mended by a few epochs of its own images. What
all of them give up is given up once, on all images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from prunelle.classwise.cutting import Evidence
from prunelle.classwise.look import Look
from prunelle.classwise.member import CANDIDATES, NETWORK, SHARED, Shop
from prunelle.classwise.split import Trial, run_for
from prunelle.classwise.whole import Whole
from prunelle.files import atomic_write, read_bytes
from prunelle.models.save import copy_saved, read_folder


def shared_trial(num_classes: int, seed: int) -> Trial:
    """The shared network as the single member of a trial."""
    return Trial(SHARED, seed, (tuple(range(num_classes)),))


def shop_for_shared(shop: Shop, target_macs: float) -> Shop:
    """The shop in which the shared network is made. target_macs: share of the whole network's multiply-adds."""
    cutting = replace(shop.making.cutting, target_macs=target_macs, latency=None, apoz=None, mean=None)
    return replace(shop, making=replace(shop.making, cutting=cutting))


def shop_from_shared(shop: Shop, first: Shop, trial: Trial, look: Callable[[nn.Module], Look]) -> Shop:
    """The shop in which members are cut from the shared network and taught by the whole one.

    The shared network and what it gave up are kept in OUT/shared. first: of `shop_for_shared`, where `trial` stands.
    look: reads a network as `look.look_at` does. Members' multiply-adds stay shares of the whole network's. Raises
    CorruptFileError, DiskError.
    """
    run, kept = run_for(trial.jobs[0], first).folder, shop.out / SHARED
    folder = run / NETWORK
    copy_saved(folder, kept)
    atomic_write(kept / CANDIDATES, read_bytes(run / CANDIDATES))
    manifest, _ = read_folder(folder)
    whole = Whole(folder, manifest.builder, manifest.cuts)
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
