"""How the house stands: imports point down, rooms on a floor do not know each other, optional dependencies are imported
in the few files named for them. Read from the source, so that a late import inside a function counts too."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "prunelle"

FLOORS = (
    ("errors", "files", "seeds", "schedules", "steps", "runs"),
    ("data", "graph", "engines", "report"),
    ("models", "measure"),
    ("train", "ship"),
    ("prune", "quantize"),
    ("tickets", "classwise", "anytime"),
    ("fit", "serve"),
    ("recipes",),
    ("cli",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms} | {"__main__": len(FLOORS)}

OPTIONAL = {
    "sklearn": ("data/digits.py",),
    "jinja2": ("report/page.py",),
    "plotly": ("report/page.py",),
    "onnx": ("ship/onnx.py",),
    "onnxscript": ("ship/onnx.py",),
    "onnxruntime": ("ship/onnx.py",),
    "openvino": ("ship/openvino.py",),
    "nncf": ("ship/nncf_int8.py",),
    "timm": ("models/timm_zoo.py",),
    "torchvision": ("models/timm_zoo.py",),
    "ray": ("engines/ray.py",),
    "pyspark": ("engines/spark.py",),
    "optuna": ("fit/search.py",),
    "fastapi": ("serve/server.py",),
}
PICKLES = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
VAGUE = ("utils", "util", "base", "common", "misc", "helpers", "helper", "tools", "core")
CLOCKS = ("perf_counter", "perf_counter_ns", "process_time", "process_time_ns")


@dataclass(frozen=True)
class Import:
    """module: as written, absolute. names: what is taken from it, empty for `import module`."""

    module: str
    names: tuple[str, ...]
    line: int


def sources() -> dict[str, str]:
    """{path below prunelle/: text}."""
    return {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}


def imports(text: str) -> Iterator[Import]:
    """Every import statement, wherever it stands; those under `if TYPE_CHECKING` too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, (), node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield Import(module, tuple(alias.name for alias in node.names), node.lineno)


def room_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def wrong_directions(path: str, text: str) -> list[str]:
    """Imports of a room above, or of another one on the same floor above the ground; rooms that have no floor."""
    found = []
    here = room_of(path)
    if here == "__init__":
        return [f"{path}:{one.line} the package's own __init__ imports {one.module}" for one in imports(text)]
    if here not in FLOOR_OF:
        return [f"{path} is in a room without a floor"]
    for one in imports(text):
        parts = one.module.split(".")
        if parts[0] != "prunelle":
            if one.module.startswith("."):
                found.append(f"{path}:{one.line} imports {one.module} relatively")
            continue
        there = parts[1] if len(parts) > 1 else (one.names or ("",))[0]
        if there not in FLOOR_OF:
            found.append(f"{path}:{one.line} imports {one.module}, which has no floor")
        elif FLOOR_OF[there] > FLOOR_OF[here]:
            found.append(f"{path}:{one.line} imports upwards, {one.module}")
        elif FLOOR_OF[there] == FLOOR_OF[here] > 0 and there != here:
            found.append(f"{path}:{one.line} imports its neighbour {one.module}")
    return found


def wrong_dependencies(path: str, text: str) -> list[str]:
    """Optional dependencies imported outside the files named for them, `importlib` and strings included."""
    found = []
    for one in imports(text):
        root = one.module.split(".")[0]
        if root in OPTIONAL and path not in OPTIONAL[root]:
            found.append(f"{path}:{one.line} imports {root}, only {OPTIONAL[root]} may")
    for node in ast.walk(ast.parse(text)):
        if is_call_of(node, "import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
            root = str(node.args[0].value).split(".")[0]
            if root in OPTIONAL and path not in OPTIONAL[root]:
                found.append(f"{path}:{node.lineno} imports {root}, only {OPTIONAL[root]} may")
    return found


def unsafe_loads(path: str, text: str) -> list[str]:
    """Pickle in any form: its modules, torch.save, torch.load without weights_only=True, numpy with allow_pickle."""
    found = [
        f"{path}:{one.line} imports {one.module}"
        for one in imports(text)
        if one.module.split(".")[0] in PICKLES or (one.module == "torch" and set(one.names) & {"load", "save"})
    ]
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        keywords = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        if is_torch(node.func, "load") and keywords.get("weights_only") is not True:
            found.append(f"{path}:{node.lineno} torch.load without weights_only=True")
        if is_torch(node.func, "save"):
            found.append(f"{path}:{node.lineno} torch.save")
        if "allow_pickle" in keywords and keywords["allow_pickle"] is not False:
            found.append(f"{path}:{node.lineno} allow_pickle")
    return found


def wrong_sources(path: str, text: str, files: frozenset[str]) -> list[str]:
    """Names taken from a room's __init__ instead of the file they stand in."""
    found = []
    for one in imports(text):
        parts = one.module.split(".")
        if parts[0] != "prunelle" or path.endswith("__init__.py"):
            continue
        folder = "/".join(parts[1:])
        if f"{folder}/__init__.py".lstrip("/") not in files and f"{folder}.py" in files:
            continue
        for name in one.names or ("",):
            inside = f"{folder}/{name}".lstrip("/")
            if f"{inside}.py" not in files and f"{inside}/__init__.py" not in files:
                found.append(f"{path}:{one.line} takes {name or one.module} from {one.module}, not from its file")
    return found


def wrong_clocks(path: str, text: str) -> list[str]:
    """Fine clocks read outside measure/."""
    if room_of(path) == "measure":
        return []
    found = [
        f"{path}:{node.lineno} reads {node.attr}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS
    ]
    return found + [f"{path}:{one.line} imports a clock" for one in imports(text) if set(one.names) & set(CLOCKS)]


def is_call_of(node: ast.AST, *names: str) -> bool:
    if not isinstance(node, ast.Call):
        return False
    return getattr(node.func, "attr", getattr(node.func, "id", None)) in names


def is_torch(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name and getattr(node.value, "id", None) == "torch"


SOURCES = sources()
FILES = frozenset(SOURCES)


def test_there_is_something_to_read():
    assert {"errors.py", "train/loop.py", "cli/main.py"} <= FILES


def test_imports_point_down():
    assert [problem for path, text in SOURCES.items() for problem in wrong_directions(path, text)] == []


def test_optional_dependencies_stand_in_their_files():
    assert [problem for path, text in SOURCES.items() for problem in wrong_dependencies(path, text)] == []


def test_no_pickle():
    assert [problem for path, text in SOURCES.items() for problem in unsafe_loads(path, text)] == []


def test_names_are_taken_from_their_files():
    assert [problem for path, text in SOURCES.items() for problem in wrong_sources(path, text, FILES)] == []


def test_clocks_are_read_in_measure():
    assert [problem for path, text in SOURCES.items() for problem in wrong_clocks(path, text)] == []


def test_files_are_named_for_what_they_hold():
    assert [path for path in FILES if Path(path).stem in VAGUE or set(Path(path).parts) & set(VAGUE)] == []


def test_tests_mirror_the_rooms():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("_")}
    tests = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir()}
    assert rooms - tests == set()


BROKEN = {
    "up": ("data/x.py", "from prunelle.train.loop import fit_\n", wrong_directions, "imports upwards"),
    "up, late": ("data/x.py", "def f():\n    import prunelle.cli.main\n", wrong_directions, "imports upwards"),
    "up, by the package": ("train/x.py", "from prunelle import prune\n", wrong_directions, "imports upwards"),
    "neighbour": ("models/x.py", "from prunelle.measure.macs import count_macs\n", wrong_directions, "neighbour"),
    "relative": ("models/x.py", "from . import save\n", wrong_directions, "relatively"),
    "new room": ("attic/x.py", "", wrong_directions, "without a floor"),
    "unknown room": ("cli/x.py", "import prunelle.attic.x\n", wrong_directions, "which has no floor"),
    "package": ("__init__.py", "from prunelle.errors import InputError\n", wrong_directions, "__init__ imports"),
    "optional": ("cli/x.py", "def f():\n    import timm.models\n", wrong_dependencies, "imports timm, only"),
    "optional, from": ("data/mnist.py", "from sklearn.datasets import x\n", wrong_dependencies, "imports sklearn"),
    "optional, hidden": ("cli/x.py", "importlib.import_module('ray.tune')\n", wrong_dependencies, "imports ray"),
    "pickle": ("runs.py", "import pickle\n", unsafe_loads, "imports pickle"),
    "load": ("runs.py", "torch.load(path)\n", unsafe_loads, "without weights_only=True"),
    "load, off": ("runs.py", "torch.load(path, weights_only=False)\n", unsafe_loads, "without weights_only=True"),
    "load, by name": ("runs.py", "from torch import load\n", unsafe_loads, "imports torch"),
    "save": ("runs.py", "torch.save(x, path)\n", unsafe_loads, "torch.save"),
    "numpy": ("runs.py", "numpy.load(path, allow_pickle=True)\n", unsafe_loads, "allow_pickle"),
    "clock": ("train/x.py", "import time\ntime.perf_counter()\n", wrong_clocks, "reads perf_counter"),
    "clock, by name": ("train/x.py", "from time import perf_counter_ns as now\n", wrong_clocks, "imports a clock"),
    "room": ("cli/x.py", "from prunelle.models import lenet5\n", lambda p, t: wrong_sources(p, t, FILES), "not from"),
    "room, whole": ("cli/x.py", "import prunelle.models\n", lambda p, t: wrong_sources(p, t, FILES), "not from its"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found(name):
    path, text, check, complaint = BROKEN[name]
    problems = check(path, text)
    assert len(problems) == 1 and complaint in problems[0]


def test_what_is_right_is_let_through():
    text = (
        "import json\nimport torch\nfrom prunelle import seeds\nfrom prunelle.models.save import load\n"
        "import prunelle.errors\nimport time\ntime.monotonic()\ntorch.load(path, weights_only=True)\n"
    )
    for check in (wrong_directions, wrong_dependencies, unsafe_loads, wrong_clocks):
        assert check("train/x.py", text) == []
    assert wrong_sources("train/x.py", text, FILES) == []
    assert wrong_dependencies("models/timm_zoo.py", "import timm\n") == []
    assert wrong_clocks("measure/x.py", "time.perf_counter_ns()\n") == []
