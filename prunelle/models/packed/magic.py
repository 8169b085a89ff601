"""How a packed file is known. Free of torch."""

import os

MAGIC, VERSION = b"PRUNPACK", 1


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Whether there is a plain file that begins as a packed one does; a pipe is not waited for."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False
