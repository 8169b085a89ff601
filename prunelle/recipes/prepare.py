"""A folder of images becomes shards: checked, shared out among an engine's workers, told."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunelle.data.names import CLAIM, INDEX
from prunelle.errors import CorruptFileError, DataError
from prunelle.files import make_folder, remove_leftovers, write_sealed_json
from prunelle.recipes.preparing import Asked, check_claim, check_decoder

if TYPE_CHECKING:
    from prunelle.data.prepare import Plan
    from prunelle.data.shards import Index

MOST_NAMED = 5
PILOT_IMAGES = 64
READERS = 4

Watch = Callable[[str, float], None]
"""(what is done, share of it in [0, 1])"""


def prepare(asked: Asked, watch: Watch) -> dict[str, Any]:
    """Make the shards that are missing or damaged and, last, the index. A finished folder is only checked.

    Returns {"images", "shards", "made", "bytes", "seconds", "skipped", "size", "classes"}: shards in all and made now,
    bytes of the shards, images left out. Raises what `check` and the engine raise; DataError for damaged images.
    """
    from prunelle.runs import held

    begun = time.monotonic()
    plan = plan_of(asked, watch)
    make_folder(asked.out)
    with held(asked.out / "lock"):
        remove_leftovers(asked.out)
        take(asked.out, plan)
        before = index_before(asked.out)
        found, num_made = shards(asked, plan, watch)
        index = index_for(asked, plan, found)
        if before is None:
            write_sealed_json(asked.out / INDEX, index.to_json())
        elif before != index:
            raise DataError(
                f"{asked.out}: a shard that was made again is not what {INDEX} tells: images of {asked.source} have "
                "changed; prepare into another folder."
            )
    num_skipped = len(index.skipped)
    return {
        "images": plan.num_images - num_skipped,
        "shards": len(plan.jobs),
        "made": num_made,
        "bytes": sum(one["bytes"] for one in found),
        "seconds": round(time.monotonic() - begun, 3),
        "skipped": num_skipped,
        "size": plan.size,
        "classes": len(plan.class_names),
    }


def estimate(asked: Asked, watch: Watch) -> dict[str, Any]:
    """What `prepare` would do, and about how long; some images are decoded for that, nothing is written."""
    from prunelle.data.images import centred

    plan = plan_of(asked, watch)
    if (asked.out / CLAIM).exists():
        check_claim(asked.out, plan)
    names = [name for job in plan.jobs for name in job["names"]]
    pilot = names[:: max(1, len(names) // PILOT_IMAGES)]
    begun = time.monotonic()
    for name in pilot:
        try:
            centred(plan.root / name, plan.size, plan.resize)
        except DataError:
            continue
    seconds = (time.monotonic() - begun) / len(pilot) * len(names) / asked.workers
    told = {"images": len(names), "shards": len(plan.jobs), "classes": len(plan.class_names), "size": plan.size}
    return {**told, "bytes": plan.num_bytes, "seconds": round(seconds, 3), "engine": asked.engine}


def plan_of(asked: Asked, watch: Watch) -> Plan:
    from prunelle.data.prepare import plan_shards

    watch("looking for images", 0.0)
    return plan_shards(asked.source, asked.size)


def take(out: Path, plan: Plan) -> None:
    """Mark the folder as this plan's. Raises RunConflictError where it is another's."""
    if (out / CLAIM).exists():
        check_claim(out, plan)
    else:
        write_sealed_json(out / CLAIM, plan.claim())


def index_before(out: Path) -> Index | None:
    """The index that stands, None where there is none or a damaged one: the shards tell all that it does."""
    from prunelle.data.shards import read_index

    try:
        return read_index(out)
    except CorruptFileError:
        return None


def shards(asked: Asked, plan: Plan, watch: Watch) -> tuple[list[dict], int]:
    """What make_shard tells of each shard, in order, and how many were made now."""
    from prunelle.data.prepare import kept_shard, make_shard
    from prunelle.data.shards import shard_name

    watch("checking shards", 0.0)
    with ThreadPoolExecutor(READERS) as pool:  # hashing lets go of the interpreter
        found = list(pool.map(partial(kept_shard, plan, asked.out), plan.jobs))
    missing = [number for number, one in enumerate(found) if one is None]
    if missing:
        check_decoder(asked.out, plan)
        paths = [asked.out / shard_name(plan.jobs[n]["part"], plan.jobs[n]["number"]) for n in missing]
        for path in paths:
            path.unlink(missing_ok=True)  # a damaged one must not count as made

        def look() -> None:
            share = 1 - sum(not path.exists() for path in paths) / len(plan.jobs)
            watch(f"{len(plan.jobs)} shards", share)

        run_jobs, given = engine_of(asked)
        shared = plan.shared(asked.out, asked.skip_damaged)
        made = run_jobs(make_shard, [plan.jobs[n] for n in missing], asked.workers, look, shared, **given)
        for number, one in zip(missing, made, strict=True):
            found[number] = one
    return [one for one in found if one is not None], len(missing)


def engine_of(asked: Asked) -> tuple[Callable, dict[str, Any]]:
    """run_jobs of the engine, and what it is told besides. Raises MissingExtraError."""
    if asked.engine == "local":
        from prunelle.engines.local import run_jobs as locally

        return locally, {}
    if asked.engine == "ray":
        from prunelle.engines.ray import run_jobs as on_ray

        return on_ray, {"address": asked.address}
    from prunelle.engines.spark import run_jobs as on_spark

    return on_spark, {"address": asked.address}


def index_for(asked: Asked, plan: Plan, found: list[dict]) -> Index:
    """The index. Raises DataError where images were damaged and nobody asked to leave them out."""
    from prunelle.data.prepare import index_of

    skipped = [f"{file} {why}" for one in found for file, why in one["skipped"]]
    if skipped and not asked.skip_damaged:
        more = f" and {len(skipped) - MOST_NAMED} more" if len(skipped) > MOST_NAMED else ""
        raise DataError(
            f"{asked.source}: {len(skipped)} of {plan.num_images} images cannot be prepared: "
            f"{'; '.join(skipped[:MOST_NAMED])}{more}; pass --skip-damaged to go on without them, or mend them and "
            "choose another DST."
        )
    return index_of(plan, found)
