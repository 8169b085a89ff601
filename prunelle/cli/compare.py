"""prunelle compare"""

from __future__ import annotations

from typing import Annotated

import typer

from prunelle.cli import options as o
from prunelle.cli.show import print_json, print_pairs
from prunelle.errors import LimitError, SettingError
from prunelle.recipes.check import check_device_word, check_model_word

First = Annotated[str, typer.Argument(help="The model before.", metavar="A")]
Second = Annotated[str, typer.Argument(help="The model after.", metavar="B")]
MaxDrop = Annotated[float, typer.Option("--max-drop", help="Points of top-1 that B may lose; more exits 1.")]


def compare(
    a: First,
    b: Second,
    max_drop: MaxDrop = 0.5,
    data: Annotated[str | None, typer.Option("--data", help="Whose test split; else the one A was trained on.")] = None,
    data_dir: o.DataDir = None,
    device: o.Device = "cpu",
    threads: o.Threads = None,
    trust: o.Trust = False,
    json: o.Json = False,
) -> None:
    """Measure A and B on one test split, interleaved, and exit 1 when B lost more than --max-drop points."""
    if not 0 <= max_drop <= 100:
        raise SettingError(f"--max-drop {max_drop}: is in points of top-1 and must lie in [0, 100].")
    check_device_word(device)
    for model in (a, b):
        check_model_word(model, None, trust)
    from prunelle.recipes.compare import compare_models, data_of

    named = data or data_of(a) or data_of(b)
    if named is None:
        raise SettingError("--data: neither A nor B says what it was trained on; name a data set.")
    from prunelle.data.find import check_data

    check_data(named, data_dir)
    num_threads = o.layout(1, threads or 1, 1, device)[0]
    found = compare_models(a, b, named, data_dir, device, num_threads, trust)
    if json:
        print_json(found)
    else:
        pairs = [
            ("top-1", f"{found['top1_before']:.4f} -> {found['top1_after']:.4f}"),
            ("lost, points", f"{found['drop_points']:+.3f} ({found['lost']} lost, {found['gained']} gained)"),
            ("size, bytes", f"{found['size_bytes_before']} -> {found['size_bytes_after']}"),
            ("speed", f"{found['ratio']:.3f}x ({found['ratio_low']:.3f} to {found['ratio_high']:.3f})"),
        ]
        print_pairs(f"{a} -> {b} on {named}", pairs)
    if found["drop_points"] > max_drop:
        raise LimitError(f"{b}: lost {found['drop_points']:.3f} points of top-1 against {a}, {max_drop} are allowed.")
