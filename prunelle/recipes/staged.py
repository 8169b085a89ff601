"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prunelle.files import disk_error, make_folder, sync_folder
from prunelle.recipes.check import nearest
from prunelle.ship.shipped import sync


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """An empty folder on the disk of `out`, gone afterwards; what killed processes left beside it goes too."""
    above = nearest(out.absolute().parent)
    folder = above / f".{out.name}-{os.getpid()}.ship.tmp"
    try:
        for left in above.glob(f".{out.name}-*.ship.tmp"):
            if not alive(left):
                shutil.rmtree(left, ignore_errors=True)
        folder.mkdir()
    except OSError as error:
        raise disk_error(folder, error) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def alive(left: Path) -> bool:
    """Whether the process that made a folder of `staged` still runs."""
    found = re.search(r"-(\d+)\.ship\.tmp$", left.name)
    if found is None:
        return True
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return int(found[1]) != os.getpid()


def put(folder: Path, out: Path) -> None:
    """Make a finished folder stand at `out`, which is absent or empty. Raises DiskError."""
    try:
        sync(path for path in folder.rglob("*") if path.is_file())
        sync_folder(folder)
        make_folder(out.parent)
        os.replace(folder, out)
        sync_folder(out.parent)
    except OSError as error:
        raise disk_error(out, error) from None
