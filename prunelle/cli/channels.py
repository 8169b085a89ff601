"""Cutting channels from the command line, and what is printed of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunelle.cli.options import layout
from prunelle.cli.show import print_json, print_pairs, print_table
from prunelle.errors import SettingError, WorkError
from prunelle.models.names import Shape
from prunelle.recipes.check import check_device_word, check_model_word, check_out
from prunelle.recipes.settings import ChannelsStage, LatencyStage

NEED_DATA = ("taylor", "apoz", "activation")
CLAIM = "channels.json"
MOST_NAMES = 4
EXACT = 1e-10


def cut_and_tell(
    model: str,
    stage: ChannelsStage | LatencyStage,
    weights: str | None,
    input_shape: Shape | None,
    seed: int,
    out: Path,
    *,
    verified: bool,
    device: str,
    threads: int | None,
    trust: bool,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Cut without data. Words are refused before torch is imported; exit 1 where the network cannot be cut."""
    check_model_word(model, weights, trust)
    check_out(out, CLAIM)
    check_device_word(device)
    if device != "cpu":
        raise SettingError(f"--device {device}: without --data the cut is made on the CPU; leave it out.")
    if stage.repair:
        raise SettingError(f"--repair {','.join(stage.repair)}: needs images; pass --data.")
    if stage.score in NEED_DATA:
        raise SettingError(f"--score {stage.score}: needs images; pass --data, or take another score.")
    num_threads = layout(1, threads, 1, device)[0]
    if dry_run and isinstance(stage, LatencyStage):
        raise SettingError("--dry-run: --latency has to cut and measure to know; leave one out.")

    import torch

    from prunelle.recipes.channels import cut_channels, dry_cut
    from prunelle.recipes.slimming import Asked

    torch.set_num_threads(num_threads)
    asked = Asked(model, stage, weights, input_shape, seed)
    told = dry_cut(asked, trust) if dry_run else cut_channels(asked, out, trust=trust, verified=verified)
    ok = told.get("ok", True)
    if as_json:
        print_json(told)
    elif dry_run:
        print_pairs("plan", [(name, str(value)) for name, value in told.items() if name != "frozen"])
    elif ok:
        print_cut(told, out)
    if not ok:
        raise WorkError("; ".join(one.rstrip(".") for one in told["problems"]) + "; nothing was saved.")


def print_cut(told: dict[str, Any], out: Path) -> None:
    """Before and after, what could not be cut, and how it was held."""
    rows = [
        (what, f"{told[f'{key}_before']:,}", f"{told[f'{key}_after']:,}", share(told, key))
        for what, key in (
            ("channels in the sets", "channels"),
            ("parameters", "params"),
            ("multiply-adds an image", "macs"),
            ("bytes of the saved folder", "size_bytes"),
        )
    ]
    print_table(told["model"], ("", "before", "after", "left"), rows)
    print(f"{told['num_sets_pruned']} of {told['num_sets']} sets cut in {told['seconds']:.2f} s; saved in {out}")
    if "latency" in told:
        print_latency(told["latency"])
    print_verdict(told)
    print_frozen(told["frozen"])


def print_latency(look: Mapping[str, Any]) -> None:
    """What the cut network takes."""
    print(
        f"takes {look['median_ms']:.4g} ms a call, {look['ratio']:.3f} ({look['ratio_low']:.3f} to "
        f"{look['ratio_high']:.3f}) of the dense network's time, measured in turns"
    )


def print_verdict(told: Mapping[str, Any]) -> None:
    """How it was held, where it was and held."""
    if told.get("ok"):
        casts = "" if told["limit"] <= EXACT else f" (it computes in float32 itself: {', '.join(told['casts'][:3])})"
        print(f"held against the masked network: off by {told['max_rel_err']:.1e} of the largest output at most{casts}")


def share(told: dict[str, Any], key: str) -> str:
    before = told[f"{key}_before"]
    return f"{told[f'{key}_after'] / before:.1%}" if before else ""


def print_frozen(frozen: list[dict[str, str]]) -> None:
    """What stays, and why; what stays for one reason stands in one line."""
    by_reason: dict[str, list[str]] = {}
    for one in frozen:
        by_reason.setdefault(one["why"], []).append(one["what"] or "the model")
    lines = [(", ".join(names[:MOST_NAMES]) + more(len(names) - MOST_NAMES), why) for why, names in by_reason.items()]
    if lines:
        print_table("left whole", ("what", "why"), lines)


def more(count: int) -> str:
    """How many names were left out of a list, as its end."""
    return f" and {count} more" if count > 0 else ""
