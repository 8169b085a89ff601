"""Was a command line refused as the contract says?"""

from __future__ import annotations

import contextlib
import io

from prunelle.cli.main import answer


def refused(arguments: list[str]) -> str | None:
    """None when it was: exit code 2, one sentence on stderr, nothing on stdout. Else what came instead."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = answer(arguments)
    said = err.getvalue()
    line = said.removesuffix("\n")
    proper = line.startswith("prunelle: ") and "\n" not in line and line.endswith((".", "?", ")", "'"))
    if code == 2 and proper and not out.getvalue():
        return None
    return f"exit {code}, stdout {out.getvalue()[:200]!r}, stderr {said[:600]!r}"
