"""Writing files so that a kill or a full disk never leaves half of one, and reading them so that damage shows."""

import errno
import hashlib
import json
import os
import stat
from contextlib import suppress
from pathlib import Path

from prunelle.errors import CorruptFileError, DiskError

EMPTY_SEAL = "0" * 64
LARGEST_BYTES = 2**33
LARGEST_JSON_BYTES = 16 * 2**20
"""JSON takes some twenty times its size in memory; the largest model.json known here has 0.3 MB."""


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to a temporary name beside `path`, sync it, rename it, sync the folder.

    Whoever reads `path` sees the old bytes or the new ones, whatever happens in between.
    Raises DiskError when the disk is full or fails; the temporary file is removed and the old one stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        # A disk that failed once may refuse the removal too; the next start removes what is left.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from None


def write_all(handle: int, data: bytes) -> None:
    """os.write until all is written: one call may write only a part. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.write(handle, view)
        if written <= 0:
            raise OSError(errno.EIO, "the disk took no more bytes")
        view = view[written:]


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` outlast a power cut, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_folder(folder: Path) -> None:
    """The folder and those above it, where absent. Raises DiskError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from None


def holds_strangers(folder: Path, claim: str) -> bool:
    """Whether a folder holds things and not the file by which one of ours is known. Hidden ones and a lock alone are
    what a kill leaves. Raises OSError where the folder cannot be read."""
    if not folder.is_dir() or (folder / claim).is_file():
        return False
    return any(not entry.name.startswith(".") and entry.name != "lock" for entry in folder.iterdir())


def disk_error(path: Path, error: OSError) -> DiskError:
    """The sentence for a write that the system refused."""
    return DiskError(
        f"{path}: could not be written ({error.strerror or error}); what was finished before is kept; "
        "free space or permissions there and start the same command again."
    )


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that killed writers left in `folder` and below. Only the folder's lock holder may call
    this. Raises DiskError."""
    for leftover in folder.rglob(".*.tmp"):
        remove(leftover)


def remove(path: Path) -> None:
    """Delete a file unless it is gone already. Raises DiskError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(path, error) from None


def sha256(data: bytes) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def to_json(values: object) -> str:
    """The one text a value has: sorted keys, no NaN."""
    return json.dumps(values, sort_keys=True, allow_nan=False, separators=(",", ":"))


def write_sealed_json(path: Path, values: dict) -> None:
    """Write a JSON object that carries the SHA-256 of its own bytes under "seal".

    The seal is taken over the file with the seal's digits set to 0, so that a flip anywhere, white space included,
    is found. Raises DiskError.
    """
    text = json.dumps({"seal": EMPTY_SEAL, **values}, allow_nan=False) + "\n"
    seal = sha256(text.encode())
    atomic_write(path, text.replace(EMPTY_SEAL, seal, 1).encode())


def read_sealed_json(path: Path) -> dict:
    """The object that `write_sealed_json` wrote, without its seal.

    Raises CorruptFileError when the file is absent, is not such an object, or is not the very bytes that were written.
    """
    raw = read_bytes(path, LARGEST_JSON_BYTES)
    damaged = CorruptFileError(f"{path}: its contents do not match its own SHA-256; take a fresh copy of the file.")
    try:
        values = json.loads(raw, parse_constant=not_json)
        seal = values.pop("seal")
        unsealed = raw.replace(seal.encode(), EMPTY_SEAL.encode(), 1)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise damaged from None
    if len(seal) != len(EMPTY_SEAL) or sha256(unsealed) != seal:
        raise damaged
    return values


def not_json(constant: str) -> None:
    """NaN and infinities, which Python's parser would let through."""
    raise ValueError(f"{constant} is no JSON")


def read_bytes(path: Path, largest: int = LARGEST_BYTES) -> bytes:
    """The file's bytes. Raises CorruptFileError when it is absent, no plain file, or above `largest` bytes."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for without end
            raise CorruptFileError(f"{path}: is no plain file; give a complete saved folder.")
        if found.st_size > largest:
            raise CorruptFileError(
                f"{path}: is {found.st_size} bytes, at most {largest} are read; this is not such a file."
            )
        return path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"{path}: cannot be read ({error.strerror}); give a complete saved folder.") from None
