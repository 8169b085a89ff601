"""prunelle doctor"""

from __future__ import annotations

import shutil

from prunelle.cli import options as o
from prunelle.cli.show import print_json, print_pairs

EXTRAS = {
    "demo": ("sklearn", "jinja2", "plotly"),
    "report": ("jinja2", "plotly"),
    "vision": ("timm", "torchvision"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino", "nncf"),
    "compiler": ("ziglang",),
    "ray": ("ray",),
    "spark": ("pyspark",),
}


def doctor(data_dir: o.DataDir = None, json: o.Json = False) -> None:
    """Tell what this machine has: processor, versions, extras, data sets, compiler."""
    from importlib.util import find_spec

    from prunelle.data.find import check_data
    from prunelle.data.names import SOURCES
    from prunelle.errors import InputError
    from prunelle.measure.environment import environment

    def has_data(name: str) -> bool:
        try:
            check_data(name, data_dir)
        except InputError:
            return False
        return True

    extras = {
        name: [package for package in packages if find_spec(package) is None] for name, packages in EXTRAS.items()
    }
    data = {name: has_data(name) for name in SOURCES}
    compiler = shutil.which("cc")
    if json:
        found = {"environment": environment(), "extras_missing": extras, "data": data, "compiler": compiler}
        print_json(found)
        return
    print_pairs("environment", [(name, str(value)) for name, value in environment().items()])
    print_pairs(
        "extras",
        [
            (name, f"pip install prunelle[{name}] brings {', '.join(missing)}" if missing else "installed")
            for name, missing in extras.items()
        ],
    )
    print_pairs("data", [(name, "found" if there else "not found") for name, there in data.items()])
    print_pairs("compiler", [("cc", compiler or "none")])
