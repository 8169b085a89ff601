"""prunelle measure"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from prunelle.cli import options as o
from prunelle.cli.show import print_json, print_pairs
from prunelle.errors import SettingError
from prunelle.recipes.artefacts import shipped_folder
from prunelle.recipes.check import check_device_word, check_model_word
from prunelle.recipes.complaint import meant
from prunelle.ship.names import RUNTIMES

Runtime = Annotated[str, typer.Option("--runtime", help=f"One of {', '.join(RUNTIMES)}.")]
Batch = Annotated[int, typer.Option("--batch", min=1, max=65_536, help="Images a call.")]
DataOrNone = Annotated[str | None, typer.Option("--data", help="Measure accuracy on this data's test split.")]
Full = Annotated[bool, typer.Option("--full", help="Also throughput, and a saved folder's peak memory.")]


def measure(
    model: o.Model,
    runtime: Runtime = "eager",
    batch: Batch = 1,
    data: DataOrNone = None,
    weights: o.Weights = None,
    input: o.Input = None,
    data_dir: o.DataDir = None,
    device: o.Device = "cpu",
    threads: o.Threads = None,
    seed: o.Seed = 0,
    trust: o.Trust = False,
    full: Full = False,
    json: o.Json = False,
    dry_run: o.DryRun = False,
) -> None:
    """Measure a model: params, MACs, size, accuracy, latency. What is not measured is null."""
    if runtime not in RUNTIMES:
        raise SettingError(
            f"--runtime {runtime!r}: must be one of {', '.join(RUNTIMES)}{meant(runtime, RUNTIMES)}; pass one of them."
        )
    check_device_word(device)
    shipped = shipped_folder(model)
    if shipped is None:
        check_model_word(model, weights, trust)
    else:
        idle = {"--weights": weights, "--input": input, "--full": full or None}
        refuse_idle(model, idle | {"--device": None if device == "cpu" else device})
    if data is not None:
        from prunelle.data.find import check_data

        check_data(data, data_dir)
    num_threads = o.layout(1, threads or 1, 1, device)[0]
    shape = o.shape(input)
    if dry_run:
        what = f"{model}: params, MACs{', accuracy' if data else ''}, and latency for 5 s or 1,000 calls a side"
        print_json({"plan": what, "minutes": 0.5, "disk_bytes": 0}) if json else print(what)
        return

    common: dict[str, Any] = {"runtime": runtime, "batch": batch, "data": data, "data_dir": data_dir}
    common |= {"threads": num_threads, "seed": seed, "trust": trust}
    if shipped is not None:
        from prunelle.recipes.measure_shipped import measure_shipped

        card = measure_shipped(Path(shipped), **common).to_json()
    else:
        from prunelle.recipes.measure import measure_model

        own: dict[str, Any] = {"weights": weights, "input_shape": shape, "device": device, "full": full}
        card = measure_model(model, **own, **common).to_json()
    if json:
        print_json(card)
    else:
        print_pairs(card["model"], [(name, told(value)) for name, value in card.items() if name not in HIDDEN])


HIDDEN = ("model", "layers", "environment", "schema_version")


def refuse_idle(model: str, options: Mapping[str, object]) -> None:
    """Raises SettingError for an option that would do nothing to a shipped folder."""
    for name, value in options.items():
        if value is not None:
            raise SettingError(f"{name}: does nothing with {model}, which was shipped for a CPU; leave it out.")


def told(value: object) -> str:
    """A card's value as a person reads it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {told(item)}" for name, item in value.items() if item is not None) or "none"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not measured" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
