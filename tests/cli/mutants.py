"""Command lines that must be refused, made from valid ones by a seeded generator.

Every data set they name lies in a folder whose files exist and are rubbish: whoever reads one says so by its name,
which the tests forbid. Everything is made below one folder, which is also the current one.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prunelle.data.names import SOURCES

RUBBISH = "rubbish"
NUMBERS = ("nan", "inf", "-inf", "-1", "1e400", "x", "", "0x10", "true", "null", "[]")


@dataclass(frozen=True)
class Mutant:
    """arguments: of the command. kind: what was done to a valid line."""

    kind: str
    arguments: tuple[str, ...]


def lay_out(folder: Path) -> None:
    """Write every file that a mutant mentions."""
    import torch
    from safetensors.torch import save_file

    from prunelle.models.load import build
    from prunelle.models.save import Builder, save

    for source in SOURCES.values():
        for name in source.files:
            path = folder / RUBBISH / source.folders[0] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"rubbish")
    (folder / "rubbish.npz").write_bytes(b"rubbish")
    alexnet = build("alexnet_cifar").state_dict()
    save_file(alexnet, folder / "alexnet.safetensors")
    torch.save(alexnet, folder / "alexnet.pth")
    torch.save({"state_dict": alexnet, "epoch": 3}, folder / "checkpoint.pth")
    (folder / "hostile.pth").write_bytes(pickle.dumps(Boom()))
    (folder / "text.pth").write_text("weights")
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "net.py").write_text("open('ran', 'w')\ndef make():\n    pass\n")
    builder = Builder(spec="lenet5", input_shape=[1, 28, 28], num_classes=10)
    save(builder.make(), folder / "saved", builder=builder)
    save(builder.make(), folder / "later", builder=builder)
    text = (folder / "later" / "model.json").read_text().replace('"schema_version": 1', '"schema_version": 99')
    (folder / "later" / "model.json").write_text(text)
    save(builder.make(), folder / "unnamed")
    (folder / "others").mkdir()
    (folder / "others" / "thesis.txt").write_text("do not touch")
    (folder / "a_file").write_text("do not touch")
    (folder / "claimed").mkdir()
    (folder / "claimed" / "recipe.json").write_text("{}")


class Boom:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch ran",)


VALID: tuple[tuple[str, ...], ...] = (
    ("train", "lenet_300_100", "--data", "mnist", "--data-dir", RUBBISH, "--epochs", "2", "--out", "out"),
    ("train", "resnet20", "--data", "cifar10", "--data-dir", RUBBISH, "--set", "lr=0.1", "--seed", "3", "--out", "out"),
    ("prune", "lenet5", "--data", "mnist", "--data-dir", RUBBISH, "--sparsity", "0.9", "--epochs", "1", "--out", "out"),
    (
        "prune",
        "saved",
        "--data",
        "mnist",
        "--data-dir",
        RUBBISH,
        "--sparsity",
        "0.5",
        "--scope",
        "layer",
        "--out",
        "out",
    ),
    (
        *("prune", "vgg16_bn_cifar", "--data", "cifar10", "--data-dir", RUBBISH, "--sparsity", "0.8"),
        *("--score", "random", "--epochs", "0", "--out", "out"),
    ),
    (
        *("prune", "resnet20", "--data", "cifar10", "--data-dir", RUBBISH, "--channels", "0.5", "--of", "macs"),
        *("--score", "random", "--scope", "layer", "--repair", "bn", "--out", "out"),
    ),
    ("run", "fpgm", "--set", "model=lenet5", "--set", "seeds=1", "--data-dir", RUBBISH, "--out", "out"),
    ("run", "han2015", "--set", "seeds=2", "--set", "epochs=1", "--data-dir", RUBBISH, "--out", "out"),
    ("run", "gradual", "--set", "sparsities=[0.5,0.9]", "--set", "epochs=1", "--data-dir", RUBBISH, "--out", "out"),
    ("measure", "lenet5", "--data", "mnist", "--data-dir", RUBBISH, "--threads", "1", "--runtime", "eager"),
    ("measure", "saved", "--data", "mnist", "--data-dir", RUBBISH, "--batch", "2"),
    ("ship", "lenet5", "--format", "onnx", "--data", "mnist", "--data-dir", RUBBISH, "--batch", "2", "--out", "out"),
    ("compare", "saved", "lenet5", "--data", "mnist", "--data-dir", RUBBISH, "--max-drop", "0.5"),
    ("sweep", "lottery_lenet", "--set", "masks=3", "--engine", "local", "--data-dir", RUBBISH, "--out", "out"),
    ("sweep", "lottery_resnet20", "--set", "kept=[0.5,0.1]", "--data-dir", RUBBISH, "--workers", "1", "--out", "out"),
    ("run", "lottery_lenet", "--set", "iterative=true", "--data-dir", RUBBISH, "--out", "out"),
    ("plan", "lottery_lenet", "--set", "seeds=2", "--data-dir", RUBBISH, "--workers", "20"),
    (
        *("classwise", "resnet20", "--data", "cifar10", "--data-dir", RUBBISH, "--groups", "5", "--grouping", "random"),
        *("--target-macs", "0.4", "--epochs", "2", "--workers", "1", "--out", "out"),
    ),
    ("classwise", "saved", "--data", "mnist", "--data-dir", RUBBISH, "--groups", "0,1,2,3/4,5,6,7,8,9", "--out", "out"),
    ("run", "classwise_resnet20", "--set", "groups=5", "--set", "epochs=1", "--data-dir", RUBBISH, "--out", "out"),
)

TRAINING = {"epochs": 2, "lr": 0.1, "batch_size": 64, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4}
RECIPE: dict = {
    "name": "mine",
    "seeds": [0, 1],
    "cells": [
        {
            "label": "90 %",
            "model": "lenet_300_100",
            "data": "mnist",
            "dense": TRAINING | {"schedule": "cosine", "precision": "fp32", "label_smoothing": 0.1},
            "stages": [
                {"kind": "prune", "sparsity": 0.5, "score": "magnitude", "scope": "global"},
                {"kind": "retrain", "training": TRAINING},
                {"kind": "gradual", "sparsity": 0.9, "begin": 0.1, "end": 0.6, "frequency": 10, "training": TRAINING},
            ],
        },
        {
            "label": "channels",
            "model": "lenet5",
            "data": "mnist",
            "dense": TRAINING,
            "stages": [
                {"kind": "channels", "amount": 0.5, "score": "l2", "scope": "set", "floor": 2, "of": "macs"},
                {"kind": "gradual_channels", "amount": 0.7, "rounds": 2, "training": TRAINING},
            ],
        },
        {"label": "dense", "model": "lenet5", "data": "mnist", "dense": TRAINING, "stages": []},
    ],
}


def mutants(folder: Path, count: int, seed: int = 0) -> list[Mutant]:
    """`count` of them, the kinds in turns. `lay_out(folder)` comes first."""
    draw = random.Random(seed)
    makers: list[Iterator[Mutant]] = [make(folder, draw) for make in MAKERS]
    found: list[Mutant] = []
    seen: set[tuple[str, ...]] = set()
    while len(found) < count:
        for maker in makers:
            mutant = next(maker)
            if mutant.arguments not in seen and len(found) < count:
                seen.add(mutant.arguments)
                found.append(mutant)
    return found


def typo(word: str, draw: random.Random) -> str:
    """One letter dropped, doubled, swapped with the next, or replaced; never the word itself."""
    while True:
        at = draw.randrange(len(word))
        made = draw.choice(
            [
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :],
                word[:at] + draw.choice("qxzjkw") + word[at + 1 :],
            ]
        )
        if made != word and made.strip("-_ ."):
            return made


def words(folder: Path, draw: random.Random) -> Iterator[Mutant]:
    """A typo in a verb, a model, a data set, a recipe, a score, a scope, a runtime or an option."""
    named = {
        "lenet_300_100",
        "lenet5",
        "resnet20",
        "vgg16_bn_cifar",
        "mnist",
        "cifar10",
        "han2015",
        "gradual",
        "random",
    }
    named |= {"layer", "eager", "saved", "train", "prune", "run", "measure", "compare", "ship", "onnx"}
    named |= {"sweep", "plan", "local", "lottery_lenet", "lottery_resnet20", "classwise", "classwise_resnet20"}
    while True:
        line = list(draw.choice(VALID))
        at = draw.choice([i for i, word in enumerate(line) if word in named or word.startswith("--")])
        option = line[at].startswith("--")
        made = "--" + typo(line[at][2:], draw) if option else typo(line[at], draw)
        if (option and "--weights".startswith(made)) or made.startswith("-") != option or made in named:
            continue
        if at > 0 and not option and line[at - 1] == "--data" and (folder / made).exists():
            continue
        line[at] = made
        yield Mutant("typo", tuple(line))


NUMERIC = {
    "--epochs": ("-3", "1.5", "1000001", "99999999999999999999"),
    "--sparsity": ("1", "1.3", "-0.1", "2", "90%", "1e9"),
    "--seed": ("-1", "2147483648", "0.5"),
    "--threads": ("0", "-2", "100000", "1.5"),
    "--workers": ("0", "-2", "100000000", "1.5"),
    "--engine": ("spark", "Local", "rays"),
    "--groups": ("0", "1", "-2", "2.5", "all", "0,1,2", "0,1//2", "0/x"),
    "--grouping": ("Random", "k-means", "given"),
    "--target-macs": ("0", "1.01", "-0.5", "half"),
    "--shared-macs": ("0", "1.5", "-0.5", "half"),
    "--shared-epochs": ("0", "-1", "many"),
    "--target-latency": ("0", "1", "-0.5", "half"),
    "--target-ms": ("0", "-2", "soon"),
    "--batch": ("0", "-1", "3.7", "99999999999"),
    "--max-drop": ("-0.5", "101"),
    "--input": ("3,32", "1,28,28,1", "0,28,28", "1,28,-28", "a,b,c", "3,99999,32", "1,28,x"),
    "--device": ("gpu", "cuda", "cuda:7", "cuda:", "CPU", "mps", "cpu:0"),
    "--scope": ("all", "Global", "layers"),
    "--score": ("l1", "Magnitude", "magnitude_x_gradient"),
    "--runtime": ("tensorrt", "Eager", "onnx"),
    "--format": ("tflite", "Onnx", "onnxruntime"),
    "--precision": ("int4", "fp64", "int16"),
    "--target": ("arm", "riscv64", "wasm32-wasi"),
}


def values(folder: Path, draw: random.Random) -> Iterator[Mutant]:
    """An option with a value that cannot be."""
    accepts = {
        "train": ("--epochs", "--seed", "--threads", "--input", "--device"),
        "prune": ("--epochs", "--seed", "--threads", "--input", "--device", "--sparsity", "--score", "--scope"),
        "run": ("--threads", "--device"),
        "sweep": ("--workers", "--engine", "--seed", "--device"),
        "plan": ("--workers", "--device"),
        "classwise": (
            "--workers",
            "--device",
            "--seed",
            "--epochs",
            "--groups",
            "--grouping",
            "--target-macs",
            "--shared-macs",
            "--shared-epochs",
            "--target-latency",
            "--target-ms",
        ),
        "measure": ("--batch", "--threads", "--seed", "--input", "--device", "--runtime"),
        "compare": ("--max-drop", "--threads", "--device"),
        "ship": ("--batch", "--threads", "--seed", "--input", "--format", "--precision", "--target"),
    }
    while True:
        line = list(draw.choice(VALID))
        option = draw.choice(accepts[line[0]])
        own = NUMERIC[option]
        plain = option in ("--epochs", "--sparsity", "--seed", "--threads", "--workers", "--batch", "--max-drop")
        value = draw.choice(own + (NUMBERS if plain else ("",)))
        if option in line:
            at = line.index(option)
            del line[at : at + 2]
        yield Mutant("value", (*line, option, value))


def amount_of(line: list[str]) -> str:
    """The option of a prune line that says how much."""
    return next((word for word in line if word in ("--sparsity", "--channels")), "--out")


def missing(folder: Path, draw: random.Random) -> Iterator[Mutant]:
    """A required argument left out, or one too many."""
    while True:
        line = list(draw.choice(VALID))
        needed = {"train": ("--data", "--out"), "prune": ("--out", amount_of(line)), "run": ("--out",)}
        needed |= {"ship": ("--format", "--out"), "sweep": ("--out",), "plan": ("--workers",)}
        choices = [*needed.get(line[0], ()), "model", "value", "extra"]
        choice = draw.choice(choices)
        if choice == "model":
            del line[1]
        elif choice == "value":
            del line[-1]
        elif choice == "extra":
            line.append(draw.choice(["again", "lenet5", "0.9", "--", "--verbose", "-q"]))
            if line[-1] == "--":
                line.append("more")
        else:
            at = line.index(choice)
            del line[at : at + 2]
        yield Mutant("missing", tuple(line))


def settings(folder: Path, draw: random.Random) -> Iterator[Mutant]:
    """--set with a wrong key, a wrong value, or twice."""
    wrong = {
        "lr": ("0", "-1", "101", "fast", "true", "[0.1]", '"0.1"', "null"),
        "batch_size": ("0", "-5", "1.5", "64.0", "many", "true", "1e3", "10000000"),
        "momentum": ("1", "-0.1", "NaN", "Infinity"),
        "weight_decay": ("2", "-1e-4", "no"),
        "optimizer": ("sdg", "adamax", "1", "null", "SGD"),
        "schedule": ("cosin", "step", "0"),
        "precision": ("fp8", "bfloat16", "32"),
        "patience": ("0", "-1", "2.5", "soon"),
        "target": ("1.5", "-0.1", "97%"),
        "warmup_epochs": ("-1", "100000", "x"),
        "label_smoothing": ("1", "-0.1", "yes"),
        "best_from": ("2", "-1"),
        "epochs": ("3", "0"),
    }
    for_run = {"seeds": ("0", "-1", "1001", "1e6", "true", "[0]"), "epochs": ("0", "2.5", '"3"', "x", "1" + "0" * 5000)}
    for_run |= {"sparsity": ("1", "1.3", "-0.1", "NaN", "half"), "conv_epochs": ("0", "[]", "{}")}
    of_tickets = {"masks": ("0", "51", "2.5", "true"), "rewinds": ("0", "21", "[1]"), "iterative": ("1", "yes", "null")}
    of_tickets |= {"controls": ("random", '["lr","lr"]', '["best"]', "3"), "audit": ("2", "-0.1", "some")}
    of_tickets |= {"arrangement": ("fast", "0", "Plain"), "epochs": ("2", "0", "x"), "patience": ("0", "1.5")}
    while True:
        if draw.random() < 0.2:
            key = draw.choice(list(of_tickets))
            pair = draw.choice([f"{key}={draw.choice(of_tickets[key])}", f"{typo(key, draw)}=1"])
            start = draw.choice(
                [("sweep", "lottery_lenet", "--out", "out"), ("plan", "lottery_lenet", "--workers", "9")]
            )
            yield Mutant("set", (*start, "--data-dir", RUBBISH, "--set", pair))
            continue
        named = draw.random() < 0.3
        table = for_run if named else wrong
        key = draw.choice(list(table))
        value = draw.choice(table[key])
        line = ("run", "han2015", "--data-dir", RUBBISH, "--out", "out") if named else VALID[0]
        choice = draw.randrange(5)
        if choice == 0:
            pairs: tuple[str, ...] = (f"{typo(key, draw)}={draw.choice(['1', '0.1'])}",)
        elif choice == 1:
            pairs = draw.choice([("lr",), ("=3",), ("momentum=0.5", "momentum=0.6"), ("training.lr=0.1",), ("lr = 1",)])
            pairs = (f"{key}=1", f"{key}=2") if named else pairs
        else:
            pairs = (f"{key}={value}",)
        yield Mutant("set", (*line, *(part for pair in pairs for part in ("--set", pair))))


def files(folder: Path, draw: random.Random) -> Iterator[Mutant]:
    """Weights, models, data and folders that are something else."""
    train = ("train", "--data", "mnist", "--data-dir", RUBBISH, "--out", "out")
    mnist = ("lenet_300_100", "lenet5", "lenet5_small")
    cifar = ("resnet20", "resnet56", "vgg16_bn_cifar", "resnet18_cifar")
    weights = ("alexnet.safetensors", "alexnet.pth", "checkpoint.pth", "hostile.pth", "text.pth", "empty.safetensors")
    weights += ("none.pth", "a_file", "others", "net.py", "rubbish.npz", "saved/model.json", "saved/model.safetensors")
    models = ("later", "unnamed", "others", "a_file", "net.py:make", "net.py", "none.py:make", "net.py:", "timm:", "")
    models += ("timm:resnet18O", "timm:hf-hub:a/b", "saved/model.json", "alexnet.pth", "a" * 5000, "lenet5 ", "LENET5")
    outs = (
        "a_file",
        "others",
        "saved",
        "claimed",
        "a_file/below",
        "net.py",
        "/dev/null/out",
        "/proc/version",
        "b" * 300,
    )
    datas = (
        "a_file",
        "none.npz",
        "none/",
        "net.py",
        "saved",
        "",
        "cifar100",
        "MNIST",
        "mnist.npz",
        "c" * 5000,
    )
    lines = [*(("weights", (*train, name, "--weights", file)) for name in mnist for file in weights)]
    lines = [line for line in lines if line[1][-3:] != ("lenet5", "--weights", "saved/model.safetensors")]
    lines += [("weights", ("measure", name, "--weights", file)) for name in cifar for file in weights]
    lines += [("weights", (*train, "saved", "--weights", file)) for file in weights[:3]]
    lines += [("model", (*train, name)) for name in models if name != "saved"]
    lines += [("model", ("measure", name)) for name in models]
    lines += [("model", ("compare", "saved", name, "--data", "mnist", "--data-dir", RUBBISH)) for name in models]
    lines += [("out", (*VALID[number][:-1], name)) for number in (0, 2, 5) for name in outs]
    lines += [("out", ("quickstart", "--out", name)) for name in outs]
    lines += [("data", ("train", "lenet5", "--out", "out", "--data-dir", RUBBISH, "--data", name)) for name in datas]
    lines += [("data", ("measure", "lenet5", "--data", name)) for name in datas if name != ""]
    lines += [("data dir", ("train", "lenet5", "--data", "mnist", "--out", "out", "--data-dir", "none"))]
    lines += [("data dir", ("doctor", "--data", "mnist")), ("dir", ("report", "others")), ("dir", ("report", "none"))]
    lines += [("dir", ("report", "saved")), ("dir", ("report", "claimed")), ("compare", ("compare", "saved", "saved"))]
    lines += [("fit", ("measure", "saved", "--data", "cifar10", "--data-dir", RUBBISH))]
    lines += [
        ("fit", ("prune", "saved", "--data", "cifar10", "--data-dir", RUBBISH, "--sparsity", "0.5", "--out", "out"))
    ]
    lines += [("fit", (*VALID[0], "--input", "3,32,32")), ("fit", ("measure", "lenet5", "--input", "3,3,3"))]
    while True:
        draw.shuffle(lines)
        for kind, line in lines:
            yield Mutant(kind, line)


def recipes(folder: Path, draw: random.Random) -> Iterator[Mutant]:
    """A recipe file with one thing wrong at some depth, or that is no JSON."""
    number = 0
    while True:
        text = json.dumps(RECIPE, indent=1)
        if draw.random() < 0.25:
            text = draw.choice(BREAKS)(text, draw)
        else:
            recipe = copy.deepcopy(RECIPE)
            _, change = draw.choice(CHANGES)
            change(recipe, draw)
            text = json.dumps(recipe)
        number += 1
        path = folder / f"recipe{number}.json"
        path.write_text(text)
        yield Mutant("recipe", ("run", path.name, "--data-dir", RUBBISH, "--out", "out"))


def objects_in(recipe: dict) -> list[dict]:
    """Every object of a recipe, at any depth."""
    found = [recipe]
    for value in recipe.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                found += objects_in(item)
    return found


def unknown_key(recipe: dict, draw: random.Random) -> None:
    holder = draw.choice(objects_in(recipe))
    key = draw.choice(list(holder))
    holder[typo(key, draw)] = holder[key]


def missing_key(recipe: dict, draw: random.Random) -> None:
    holders = [
        (o, k) for o in objects_in(recipe) for k in o if k in ("name", "cells", "seeds", "label", "model", "data")
    ]
    holders += [(o, k) for o in objects_in(recipe) for k in o if k in ("kind", "sparsity", "training")]
    holder, key = draw.choice(holders)
    del holder[key]


def wrong_value(recipe: dict, draw: random.Random) -> None:
    holder = draw.choice(objects_in(recipe))
    key = draw.choice(list(holder))
    value = holder[key]
    number = isinstance(value, int | float)
    wrong: list = [{}, [[]], True, "x" * 5000] if number else [{"a": 1}, 7, True, ""]
    if number:
        wrong += [-1, 1e9, float("nan"), float("inf"), str(value), None, 10**30]
    elif isinstance(value, dict):
        wrong = [7, "cosine", [], True]
    elif isinstance(value, list):
        wrong = [7, "0", {"0": 1}, [7.5], [None], ["x"], True, None]
    elif key in ("model", "data", "optimizer", "schedule", "precision", "score", "scope", "kind"):
        wrong += [typo(value, draw), value.upper(), None]
    holder[key] = draw.choice(wrong)


def contradiction(recipe: dict, draw: random.Random) -> None:
    cell, stage = recipe["cells"][0], recipe["cells"][0]["stages"][2]
    draw.choice(
        [
            lambda: stage.update(begin=0.5, end=0.2),
            lambda: stage.update(end=0.95),
            lambda: cell["dense"].update(warmup_epochs=3),
            lambda: cell.update(input_shape=[3, 32, 32]),
            lambda: cell.update(model="saved", weights="alexnet.pth"),
            lambda: cell.update(weights="alexnet.safetensors"),
            lambda: cell.update(model="net.py:make"),
            lambda: cell.update(label="dense"),
            lambda: recipe.update(seeds=[]),
            lambda: recipe.update(cells=[]),
            lambda: recipe.update(seeds=[0, -1]),
        ]
    )()
    recipe["name"] = f"mine {draw.randrange(10**6)}"


CHANGES = (("key", unknown_key), ("missing", missing_key), ("value", wrong_value), ("contradiction", contradiction))
BREAKS: tuple[Callable[[str, random.Random], str], ...] = (
    lambda text, draw: text[: draw.randrange(len(text) - 1)],
    lambda text, draw: text.replace(":", "=", draw.randrange(1, 9)),
    lambda text, draw: text + draw.choice(["}", "]", ",", "x", "{}"]),
    lambda text, draw: f"// {draw.random()}\n{text}",
    lambda text, draw: text.replace('"name"', '"name": "x", "name"') + " " * draw.randrange(99),
    lambda text, draw: text.replace('"epochs": 2', '"epochs": 1, "epochs": 2', 1) + " " * draw.randrange(99),
    lambda text, draw: "[" * draw.randrange(1000, 100_000),
    lambda text, draw: str(draw.randrange(1000)),
    lambda text, draw: text.replace("'", '"').replace('"', "'") + " " * draw.randrange(99),
    lambda text, draw: text.replace('"epochs": 2', '"epochs": 1' + "0" * draw.randrange(4000, 6000), 1),
)
MAKERS = (words, values, missing, settings, files, recipes)
