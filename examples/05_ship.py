"""What you prune is what you ship: a pruned network as one C file and a library, held to it and timed. About a minute.

Needs a C compiler (gcc, clang, or `pip install prunelle[compiler]`); without one the ONNX file is shipped.
"""

import tempfile
from pathlib import Path

from prunelle.errors import MissingExtraError
from prunelle.recipes.artefacts import word_of
from prunelle.recipes.bench import bench
from prunelle.recipes.experiment import run_experiment
from prunelle.recipes.outcome import report, write_report
from prunelle.recipes.plan import Place
from prunelle.recipes.ship import ship_model
from prunelle.recipes.shipping import Asked
from prunelle.recipes.single import prune_recipe


def main() -> None:
    out = Path(tempfile.mkdtemp())
    recipe = prune_recipe(
        "lenet_300_100", "digits", None, None, 0.9, "magnitude", "global", 15, 0, {"lr": 2e-3, "batch_size": 64}
    )
    place = Place(out / "pruned", threads=1, measure_seconds=0.2, command="python examples/05_ship.py")
    finished = run_experiment(recipe, place)
    assert finished is not None
    write_report(report(recipe, finished, place), out / "pruned")

    shipped = []
    for name in ("native", "onnx", "packed"):
        try:
            told = ship_model(Asked(str(out / "pruned"), name), out / name)
        except MissingExtraError as error:
            print(f"{name}: {error}")
            continue
        print(told["summary"])
        shipped.append(str(out / name))

    words = [word_of(name, trust=True) for name in (str(out / "pruned"), *shipped)]
    for row in bench(words, trust=True)["artefacts"]:
        print(f"{Path(row['name']).name}: {row['median_ms']:.4f} ms, {row['size_bytes']:,} bytes, {row['ratio']:.2f}x")


if __name__ == "__main__":
    main()
