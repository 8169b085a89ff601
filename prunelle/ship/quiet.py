"""Other people's libraries without their talk: neither to the user's screen nor home to their makers."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator

TELEMETRY = "openvino_telemetry"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars, advice and deprecations off the user's screen; errors still come through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def private() -> Iterator[None]:
    """Let a library be imported as if `openvino_telemetry` were not installed, unless the user has imported it.

    openvino and nncf require that package and, unasked, report every import and conversion to a server and keep an
    identifier in ~/intel; where it cannot be imported they take a stub.
    """
    if TELEMETRY in sys.modules:
        yield
        return
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]
