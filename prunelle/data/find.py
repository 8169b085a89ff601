"""Where the files of a data set are: `--data-dir`, then PRUNELLE_DATA, then the user's cache. Free of torch."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from prunelle.data.names import CLAIM, INDEX, SOURCES, Source
from prunelle.errors import DataError, MissingExtraError


@dataclass(frozen=True)
class Found:
    """What a word on the command line stands for: a named source and its files, or a path (source is None)."""

    source: Source | None
    path: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


def places(data_dir: str | Path | None = None) -> list[Path]:
    """The roots searched, in order: data_dir, each entry of PRUNELLE_DATA, $XDG_CACHE_HOME or ~/.cache + /prunelle."""
    listed = os.environ.get("PRUNELLE_DATA", "").split(os.pathsep)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    roots = [*([data_dir] if data_dir is not None else []), *filter(None, listed), os.path.join(cache, "prunelle")]
    return [Path(root) for root in roots]


def find_files(source: Source, data_dir: str | Path | None = None) -> dict[str, Path]:
    """Official name -> path, all in the first folder that has every one.

    Raises DataError with the names expected and the places searched.
    """
    roots = places(data_dir)
    for root in roots:
        for folder in [*(root / sub for sub in source.folders), *_itself(root, source)]:
            files = {name: _file(folder, name, source) for name in source.files}
            found = {name: path for name, path in files.items() if path is not None}
            if len(found) == len(files):
                return found
    gzipped = " (plain or .gz)" if source.may_be_gzipped else ""
    raise DataError(
        f"{source.name}: found no folder with {', '.join(source.files)}{gzipped} in "
        f"{', '.join(map(str, roots))} or below in {', '.join(source.folders)}; "
        "put the files there, or name their folder with --data-dir or PRUNELLE_DATA."
    )


def check_data(name_or_path: str | Path, data_dir: str | Path | None = None) -> Found:
    """Resolve a name of the table, a .npz file, a folder of class folders or one that prunelle prepare made, without
    torch and without reading data.

    A name wins over a file or folder that is called the same; write ./mnist for the folder.
    Raises DataError when it is unknown or its files are missing, MissingExtraError when digits lacks scikit-learn.
    """
    try:
        return _resolve(name_or_path, data_dir)
    except OSError as error:
        raise DataError(
            f"{name_or_path}: cannot be looked up ({error.strerror}); check the name and its folder."
        ) from None


def _resolve(name_or_path: str | Path, data_dir: str | Path | None) -> Found:
    if data_dir is not None and not Path(data_dir).is_dir():
        raise DataError(f"--data-dir {data_dir}: is not a folder; give an existing one, or leave it out.")
    text = str(name_or_path)
    source = SOURCES.get(text)
    if source is not None:
        if source.files:
            return Found(source, files=find_files(source, data_dir))
        if importlib.util.find_spec("sklearn") is None:
            raise MissingExtraError(f"{text}: comes with scikit-learn; install it with: pip install prunelle[demo]")
        return Found(source)
    path = Path(name_or_path)
    if text and path.is_dir():
        if (path / CLAIM).is_file() and not (path / INDEX).is_file():
            raise DataError(f"{path}: holds an unfinished set; start its prunelle prepare again.")
        if (path / INDEX).is_file():
            return Found(None, path)
        if not any(entry.is_dir() for entry in path.iterdir()):
            raise DataError(f"{path}: holds no folders; one folder a class is expected, or train/ and val/ of those.")
        return Found(None, path)
    if path.suffix == ".npz" and path.is_file():
        return Found(None, path)
    raise DataError(_unknown(text, path))


def _unknown(text: str, path: Path) -> str:
    if text and path.exists():
        return f"{path}: is not a data set; must be a .npz file or a folder with one folder a class."
    if len(path.parts) > 1 or path.suffix:
        return f"{path}: no such file or folder; give an existing .npz file or image folder."
    close = get_close_matches(text.lower(), SOURCES, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "give one of these."
    return f"{text!r}: no data set of this name; known are {', '.join(SOURCES)}, a .npz file or an image folder; {hint}"


def _itself(root: Path, source: Source) -> list[Path]:
    """The root, unless its name says that it holds another set: MNIST and Fashion-MNIST share their file names."""
    others = {folder.split("/")[0].lower() for s in SOURCES.values() if s is not source for folder in s.folders}
    return [] if root.resolve().name.lower() in others else [root]


def _file(folder: Path, name: str, source: Source) -> Path | None:
    endings = ("", ".gz") if source.may_be_gzipped else ("",)
    return next((path for end in endings if (path := folder / (name + end)).is_file()), None)
