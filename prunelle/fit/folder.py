"""The folder of a search. It survives a kill at any moment: what is finished is never made twice.

OUT/asked.json        what was asked, sealed; another question is refused here
OUT/rows/ID.json      one finished candidate, sealed, written after its files
OUT/files/ID/         a file that no other beats, ready to be opened, with ship.json
OUT/best              a link to the best of them so far
OUT/networks/         the networks, each in a run of its own
OUT/search.json       pilot, trainings planned, seconds spent
OUT/result.json       what was shipped, sealed, written last: its presence means done
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prunelle.errors import CorruptFileError, RunConflictError
from prunelle.files import (
    disk_error,
    make_folder,
    read_sealed_json,
    remove,
    remove_leftovers,
    sync_folder,
    to_json,
    write_sealed_json,
)
from prunelle.fit.budget import Budget, best, front
from prunelle.fit.entry import Entry
from prunelle.runs import held
from prunelle.ship.shipped import sync

FINAL, ASKED = "-final", "asked.json"


class Folder:
    """Final."""

    def __init__(self, out: Path) -> None:
        self.out = out

    @contextmanager
    def held(self, asked: dict[str, Any]) -> Iterator[None]:
        """Hold the folder for this process. Raises BusyError, DiskError, RunConflictError for another question."""
        make_folder(self.out)
        with held(self.out / "lock"):
            path = self.out / ASKED
            if not path.exists():
                write_sealed_json(path, asked)
            elif read_sealed_json(path) != json.loads(to_json(asked)):
                raise RunConflictError(
                    f"{self.out}: holds a search of another network, data or budget; choose another folder with --out."
                )
            remove_leftovers(self.out)
            for left in self.out.glob(".work-*"):
                shutil.rmtree(left, ignore_errors=True)
            for left in self.out.glob(".best-*"):
                remove(left)
            yield

    def entries(self) -> dict[str, Entry]:
        """Finished candidates by id; of one that was measured twice the final one. Raises CorruptFileError."""
        found: dict[str, Entry] = {}
        for path in sorted((self.out / "rows").glob("*.json")):  # a final one sorts before: "-" < "."
            entry = self.read(path)
            if entry.final or not found.get(entry.candidate.id, entry).final:
                found[entry.candidate.id] = entry
        return found

    def looks(self) -> dict[str, Entry]:
        """The same without final ones: what a search goes by, so that one that was killed while its best were measured
        anew goes on as it would have. Raises CorruptFileError."""
        rows = self.out / "rows"
        paths = [path for path in sorted(rows.glob("*.json")) if not path.stem.endswith(FINAL)]
        return {one.candidate.id: one for one in map(self.read, paths)}

    def read(self, path: Path) -> Entry:
        """A row. Raises CorruptFileError."""
        entry = Entry.from_json(read_sealed_json(path), str(path))
        if path != self.row(entry):
            raise CorruptFileError(f"{path}: holds the row of {self.row(entry).name}; delete it.")
        return entry

    def row(self, entry: Entry) -> Path:
        return self.out / "rows" / f"{entry.candidate.id}{FINAL if entry.final else ''}.json"

    def place(self, entry: Entry) -> Path:
        """Where its files lie."""
        return self.out / "files" / f"{entry.candidate.id}{FINAL if entry.final else ''}"

    def work(self, name: str) -> Path:
        """An empty folder to make files in."""
        folder = self.out / f".work-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        return folder

    def add(self, entry: Entry, made: Path) -> None:
        """Put a finished candidate's files in place, then its row. Of one that is not fit the row alone: what lay in
        its place before goes once OUT/best leads elsewhere. Raises DiskError."""
        place = self.place(entry)
        make_folder(place.parent)
        make_folder(self.out / "rows")
        try:
            if entry.fit:
                shutil.rmtree(place, ignore_errors=True)
                sync(path for path in made.rglob("*") if path.is_file())
                os.replace(made, place)
                sync_folder(place.parent)
            shutil.rmtree(made, ignore_errors=True)
        except OSError as error:
            raise disk_error(place, error) from None
        write_sealed_json(self.row(entry), entry.to_json())

    def point(self, budget: Budget) -> Entry | None:
        """Make OUT/best lead to the best so far, and drop files that others beat. Returns it. Raises DiskError.

        Of those whose files stand: the best known may have been beaten, and dropped, by one that came out worse when it
        was measured anew.
        """
        known = self.entries()
        chosen = best(budget, (one for one in known.values() if self.place(one).is_dir()))
        if chosen is None:
            return None
        self.link(chosen)
        kept = {self.place(one).name for one in (*front(known.values()), chosen)}
        kept |= {self.place(one).name for one in known.values() if one.final and one.fit}
        for folder in (self.out / "files").iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)
        return chosen

    def drop(self, entry: Entry) -> None:
        """Delete its files, and OUT/best where that leads to them. Raises DiskError."""
        link = self.out / "best"
        if link.resolve() == self.place(entry).resolve():
            remove(link)
        shutil.rmtree(self.place(entry), ignore_errors=True)

    def link(self, entry: Entry) -> None:
        """Make OUT/best lead to its files. Raises DiskError."""
        try:
            link = self.out / f".best-{os.getpid()}"
            link.unlink(missing_ok=True)
            link.symlink_to(Path("files") / self.place(entry).name)
            os.replace(link, self.out / "best")
            sync_folder(self.out)
        except OSError as error:
            raise disk_error(self.out / "best", error) from None

    def notes(self) -> dict[str, Any]:
        """search.json; empty when there is none yet. Raises CorruptFileError."""
        path = self.out / "search.json"
        return read_sealed_json(path) if path.exists() else {}

    def note(self, **values: Any) -> None:
        """Change values of search.json. Raises DiskError."""
        write_sealed_json(self.out / "search.json", self.notes() | values)

    @property
    def result(self) -> dict[str, Any] | None:
        """result.json, None while the search is not done. Raises CorruptFileError."""
        path = self.out / "result.json"
        return read_sealed_json(path) if path.exists() else None

    def finish(self, result: dict[str, Any]) -> None:
        write_sealed_json(self.out / "result.json", result)
