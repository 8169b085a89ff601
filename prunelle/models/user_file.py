"""A user's own model: file.py:factory. Whoever calls this has asked the user for trust, for the file is run."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from prunelle.errors import ModelError
from prunelle.models.names import Shape, first_line, suggest


def build_from_file(path: str, factory: str, input_shape: Shape | None, num_classes: int | None) -> nn.Module:
    """Run the file at `path` and call its `factory`.

    input_shape, num_classes: passed by name where the signature has them and they are not None.
    Raises ModelError: the file or the factory raises, there is no such factory, what it returns is no nn.Module.
    """
    where = f"{path}:{factory}"
    function = _load_function(path, factory)
    given = {"input_shape": input_shape, "num_classes": num_classes}
    try:
        wanted = inspect.signature(function).parameters
        settings = {key: value for key, value in given.items() if key in wanted and value is not None}
        model = function(**settings)
    except (Exception, SystemExit) as error:
        raise ModelError(f"{where}: the factory raised {first_line(error)}; correct it in {path}.") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{where}: the factory returned a {type(model).__name__}, must be a torch.nn.Module.")
    return model


def _load_function(path: str, factory: str) -> Callable[..., Any]:
    """The function `factory` of the file, whose own folder is importable while it runs, as with `python file.py`."""
    file = Path(path).resolve()
    name = f"prunelle_user_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module  # dataclasses and pickling look a class's module up here
    sys.path.insert(0, str(file.parent))
    try:
        exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ModelError(f"{path}: running the file raised {first_line(error)}; correct it.") from error
    finally:
        if str(file.parent) in sys.path:
            sys.path.remove(str(file.parent))
    function = getattr(module, factory, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ModelError(
            f"{path}: has no function {factory!r}{suggest(factory, names)} it has {', '.join(names) or 'none'}."
        )
    return function
