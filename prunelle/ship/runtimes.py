"""The words for runtimes; each one's library is imported when its word is used."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from prunelle.errors import SettingError
from prunelle.ship.names import RUNTIMES

if TYPE_CHECKING:
    from torch import Tensor, nn

Runtime: TypeAlias = "Callable[[nn.Module, Tensor, int], Callable[[Tensor], Tensor]]"

PLACES = {
    "eager": ("prunelle.ship.eager", "eager"),
    "compile": ("prunelle.ship.compiled", "compiled"),
    "onnxruntime": ("prunelle.ship.onnx", "onnxruntime"),
    "openvino": ("prunelle.ship.openvino", "openvino"),
    "native": ("prunelle.ship.native_runtime", "native"),
    "native16": ("prunelle.ship.native_runtime", "native16"),
}


def load_runtime(name: str) -> Runtime:
    """The function (model, example, threads) -> run, of which run takes images (batch, ...) to outputs.

    Raises SettingError for a word that is not in `names.RUNTIMES`.
    """
    if name not in PLACES:
        raise SettingError(f"runtime: there is no {name!r}, the words are {', '.join(RUNTIMES)}.")
    module, function = PLACES[name]
    return getattr(import_module(module), function)
