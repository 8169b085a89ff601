"""What every reader of users' files shares: a size limit, and one kind of error whatever breaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prunelle.errors import DataError

MAX_BYTES = 4 * 1024**3
"""Sets that are held in memory are refused above this before anything is allocated."""


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a damaged file makes a library raise into a DataError that names the file.

    Exception and no shorter list: gzip, zipfile, numpy and pillow raise a dozen types between them on flipped bits.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        raise DataError(
            f"{path}: cannot be read as {what} ({type(error).__name__}: {reason}); get the file again."
        ) from None


def check_bytes(path: Path, num_bytes: int) -> None:
    """Raises DataError when a file claims to unpack to more than MAX_BYTES, or to much more than it can hold.

    Real images shrink a few times, and deflate ends at 1,032; a hundredfold of a large size is a hostile file.
    """
    on_disk = path.stat().st_size
    if num_bytes > max(256 * 1024**2, 100 * on_disk):
        raise DataError(f"{path}: claims {num_bytes:,} bytes of data in a file of {on_disk:,}; get the file again.")
    if num_bytes > MAX_BYTES:
        raise DataError(
            f"{path}: claims {num_bytes:,} bytes, sets held in memory may have {MAX_BYTES:,}; use a folder of images."
        )
