"""Compiled libraries kept for the next time, each under a name that carries its own SHA-256."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prunelle.errors import DiskError
from prunelle.files import sha256

DIGITS = 32
"""Of a hash that stand in a name."""


def cache_folder() -> Path:
    """Where libraries are kept: PRUNELLE_CACHE, else the user's cache folder."""
    root = os.environ.get("PRUNELLE_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "prunelle"
    )
    return Path(root) / "native"


def kept(key: str, suffix: str) -> Path | None:
    """The library kept under a key, None where there is none; what was truncated or damaged is removed."""
    for path in sorted(cache_folder().glob(f"{key[:DIGITS]}-*{suffix}")):
        try:
            if path.name == named(key, path.read_bytes(), suffix):
                return path
            path.unlink()
        except FileNotFoundError:  # by another process
            continue
        except OSError as error:
            raise unusable(error) from error
    return None


def keep(made: Path, key: str, suffix: str) -> Path:
    """Move a library into the cache, whole or not at all; gives where it is. Raises DiskError."""
    place = cache_folder() / named(key, made.read_bytes(), suffix)
    with made.open("rb+") as handle:
        os.fsync(handle.fileno())
    return made.replace(place)


def named(key: str, code: bytes, suffix: str) -> str:
    """The name says what was compiled and what came out: one rename brings both."""
    return f"{key[:DIGITS]}-{sha256(code)[:DIGITS]}{suffix}"


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder beside the cache to compile in, gone afterwards. Raises DiskError."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            yield Path(folder)
    except OSError as error:
        raise unusable(error) from error


def unusable(error: OSError) -> DiskError:
    return DiskError(f"{cache_folder()}: cannot be used ({error}); name another cache by PRUNELLE_CACHE.")
