"""What prunelle prepare is asked, and refusing what cannot work or would mix two sets in one folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from prunelle.data.names import CLAIM
from prunelle.engines.local import check_workers
from prunelle.errors import DataError, MissingExtraError, RunConflictError, SettingError
from prunelle.files import read_sealed_json
from prunelle.recipes.check import check_out
from prunelle.recipes.complaint import meant

if TYPE_CHECKING:
    from prunelle.data.prepare import Plan

ENGINES = ("local", "ray", "spark")


@dataclass(frozen=True)
class Asked:
    """What is prepared, where and by whom. size: side of the images. address: of a Ray cluster or a Spark master."""

    source: Path
    out: Path
    size: int
    workers: int
    engine: str = "local"
    address: str | None = None
    skip_damaged: bool = False


def check(asked: Asked) -> None:
    """Refuse what cannot work before any image is looked for. No torch.

    Raises SettingError, DataError, RunConflictError, MissingExtraError.
    """
    if asked.engine not in ENGINES:
        raise SettingError(
            f"--engine {asked.engine!r}: must be one of {', '.join(ENGINES)}{meant(asked.engine, ENGINES)}."
        )
    if asked.engine == "local" and asked.address is not None:
        raise SettingError(f"--address {asked.address}: is of --engine ray and spark; leave it out.")
    if not 1 <= asked.size <= 4096:
        raise SettingError(f"--size is {asked.size}, must lie in 1..4096 pixels.")
    if asked.address is None and not (asked.engine == "ray" and os.environ.get("RAY_ADDRESS")):
        check_workers(asked.workers)
    if asked.engine == "ray" and find_spec("ray") is None:
        raise MissingExtraError("--engine ray: ray is not installed; pip install 'prunelle[ray]'.")
    if asked.engine == "spark":
        from prunelle.engines.spark import check_installed

        check_installed()
    if not asked.source.is_dir():
        raise DataError(
            f"SRC {asked.source}: is no folder; give one with a folder a class, or train/ and val/ of those."
        )
    if asked.out.resolve().is_relative_to(asked.source.resolve()):
        raise RunConflictError(f"DST {asked.out}: lies in SRC, where its shards would pass for images; choose another.")
    check_out(asked.out, CLAIM, "DST")


def check_claim(out: Path, plan: Plan) -> None:
    """Raises RunConflictError where the folder is of other images or another size."""
    said, asked = read_sealed_json(out / CLAIM), plan.claim()
    if said.get("size") != asked["size"]:
        raise RunConflictError(
            f"DST {out}: holds images of size {said.get('size')}, not {plan.size}; choose another folder."
        )
    if {**said, "decoder": asked["decoder"]} != asked:
        raise RunConflictError(
            f"DST {out}: was prepared from other images than {plan.root} holds now ({said.get('num_images')} there, "
            f"{plan.num_images} here); choose another folder."
        )


def check_decoder(out: Path, plan: Plan) -> None:
    """Raises RunConflictError where the shards that stand were decoded by other libraries."""
    before, now = read_sealed_json(out / CLAIM).get("decoder"), plan.claim()["decoder"]
    if before != now:
        raise RunConflictError(
            f"DST {out}: was begun with {before}, here is {now}, and pixels may differ; choose another folder."
        )
