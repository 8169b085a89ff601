"""Writing one format into a folder, opening what was written, and holding it to the gate; or all of them in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from prunelle.errors import LimitError, MissingExtraError, PrunelleError, WorkError
from prunelle.files import make_folder
from prunelle.ship.first_line import first_line
from prunelle.ship.formats import Order, Run, load_format, open_format
from prunelle.ship.gate import LIMITS, Exam, Parity, hold, smaller
from prunelle.ship.names import FORMATS, NO_RUNTIME, PRECISIONS
from prunelle.ship.shipped import list_files, running_bytes

SMALL = ("packed", "packed-native", "int8")
"""What is asked for to be small; it is refused where it is not."""


@dataclass(frozen=True)
class Candidate:
    """One format in one precision. status: fit, refused (the gate or the exporter said no), absent (not installed).
    why: the reason in a sentence where it is not fit. run, parity: None where there are none."""

    format: str
    precision: str
    folder: Path
    status: str = "fit"
    why: str = ""
    run: Run | None = None
    parity: Parity | None = None
    size_bytes: int | None = None

    @property
    def name(self) -> str:
        return f"{self.format} {self.precision}"

    def row(self) -> dict:
        """As a row of the table; times come later."""
        return {
            "format": self.format,
            "precision": self.precision,
            "runtime": load_format(self.format).runtime,
            "status": self.status,
            "why": self.why,
            "size_bytes": self.size_bytes,
            "parity": None if self.parity is None else self.parity.to_json(),
        }


def make(name: str, order: Order, folder: Path, exam: Exam, threads: int, dense_bytes: int) -> Candidate:
    """Write a format into `folder`, open what stands there and hold it to the gate. exam: of the model itself.

    dense_bytes: of the dense weights as safetensors, below which a packed or int8 file must stay.
    Raises MissingExtraError, LimitError with the figure that was not kept, WorkError where it cannot be made or run.
    """
    what = f"{name} {order.precision}"
    check_installed(name)
    make_folder(folder)
    try:
        load_format(name).write(order, folder)
        size = running_bytes(list_files(folder, name))
        run = open_format(name, folder, order.precision, threads, trust=True)
        parity = hold(what, run, exam, order.precision)
    except PrunelleError:
        raise
    except Exception as error:  # another library's, of any class
        raise WorkError(f"{what}: could not be made ({first_line(error)}); take another format.") from error
    if name in SMALL or order.precision in SMALL:
        smaller(what, size, dense_bytes)
    return Candidate(name, order.precision, folder, run=run, parity=parity, size_bytes=size)


def check_installed(name: str) -> None:
    """Raises MissingExtraError when a package that a format needs is not there."""
    missing = [package for package in load_format(name).packages if find_spec(package) is None]
    if missing:
        raise MissingExtraError(f"{name}: {', '.join(missing)} not installed; pip install 'prunelle[{name}]'.")


def make_all(
    order: Order, folder: Path, exam: Exam, threads: int, dense_bytes: int, precision: str | None = None
) -> Iterator[Candidate]:
    """Every format that runs, in every precision that the exam can judge; a failure becomes a row, not an error.

    precision: only this one; None takes all.
    """
    for name in (one for one in FORMATS if one not in NO_RUNTIME):
        for own in PRECISIONS[name]:
            if precision not in (None, own):
                continue
            place = folder / f"{name}-{own}"
            if exam.targets is None and LIMITS[own].max_error is None:
                yield Candidate(name, own, place, "absent", "what it costs shows on images only; pass --data.")
                continue
            try:
                yield make(name, dataclasses.replace(order, precision=own), place, exam, threads, dense_bytes)
            except MissingExtraError as error:
                yield Candidate(name, own, place, "absent", str(error))
            except PrunelleError as error:
                kept = isinstance(error, LimitError)
                yield Candidate(name, own, place, "refused" if kept else "failed", str(error))
