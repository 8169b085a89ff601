"""A budget in, the best file out. `prunelle.fit` is this room and the function that does it: `prunelle.fit(...)`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class Room(ModuleType):
    """A module that can be called, so that `import prunelle.fit` and `prunelle.fit(model, task, ...)` both work."""

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """See `prunelle.fit.call.fit`."""
        from prunelle.fit.call import fit

        return fit(*args, **settings)


sys.modules[__name__].__class__ = Room
