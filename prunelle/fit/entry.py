"""An entry: one file that was made, held to its network, run on the validation split and timed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from prunelle.errors import CorruptFileError
from prunelle.fit.candidates import Candidate


@dataclass(frozen=True)
class Entry:
    """A candidate and its figures; they are those of the file itself, as it runs.

    status: fit; refused (the gate said no), failed or absent, and then why; figures then only of a cut in one shot that
    the gate refused. runtime: what runs it. size_bytes: of what running needs. median_ms, p95_ms, p99_ms: of one image;
    reference_ms: the median of the dense network in the reference runtime, called in turns with it. share: of its time
    in that one's, paired, with its interval. val_top1: of the file on the validation split. drop: points below the
    dense network, and its standard error from the images whose scores differ. final: kernels chosen by timing, and
    timed for as long as a result is. seconds: it took to make and measure.
    """

    candidate: Candidate
    status: str
    why: str = ""
    runtime: str = ""
    size_bytes: int = 0
    median_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    reference_ms: float = 0.0
    share: float = 0.0
    share_low: float = 0.0
    share_high: float = 0.0
    val_top1: float = 0.0
    drop: float = 0.0
    drop_error: float = 0.0
    params: int = 0
    nnz: int = 0
    num_samples: int = 0
    final: bool = False
    seconds: float = 0.0

    @property
    def fit(self) -> bool:
        return self.status == "fit"

    @property
    def measured(self) -> bool:
        """Whether there are figures, of a file that may be shipped or not."""
        return self.status in ("fit", "refused") and self.median_ms > 0

    @property
    def name(self) -> str:
        return self.candidate.name

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "candidate": self.candidate.to_json()}

    @staticmethod
    def from_json(values: dict[str, Any], where: str) -> Entry:
        """where: the file, for the error. Raises CorruptFileError."""
        try:
            return Entry(**{**values, "candidate": Candidate.from_json(values["candidate"], where)})
        except (KeyError, TypeError) as error:
            raise CorruptFileError(f"{where}: holds no entry of this version ({error}); delete it.") from None

    @staticmethod
    def example(**values: Any) -> Entry:
        """A made-up entry, for examples and tests."""
        return Entry(Candidate((), (), "native", "fp32"), "fit", **values)
