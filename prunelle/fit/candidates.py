"""Candidates: what can be done to a network, as data. A candidate is a recipe: it can be made again alone."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunelle.errors import SettingError
from prunelle.files import read_sealed_json, sha256, to_json

ZEROS, CHANNELS, BLOCKS = "zeros", "channels", "blocks"
KINDS = (ZEROS, CHANNELS, BLOCKS)
SCOPES = ("global", "cost")
BITS = 3.5
"""Of one of 16 shared values, coded near its entropy."""
NUMBERS = {
    ZEROS: "% zeros",
    CHANNELS: "% fewer multiply-adds by channels",
    BLOCKS: "% fewer multiply-adds by blocks",
}


@dataclass(frozen=True)
class Cut:
    """What is taken away. kind: zeros (single weights), channels or blocks. amount: share of the weights, or of the
    multiply-adds. scope: of zeros, by one threshold (global) or more where a weight costs more (cost)."""

    kind: str
    amount: float
    scope: str = "global"

    @property
    def name(self) -> str:
        return f"{100 * self.amount:g} {NUMBERS[self.kind]}{' by cost' if self.scope == 'cost' else ''}"


@dataclass(frozen=True)
class Candidate:
    """cuts: in their order. epochs: trainings after them, one after another. format, precision: of the file.
    values: how many each layer's weights may take (weight sharing); bits: or how many a weight has; None leaves them.
    """

    cuts: tuple[Cut, ...]
    epochs: tuple[int, ...]
    format: str
    precision: str
    values: int | None = None
    bits: int | None = None

    @property
    def id(self) -> str:
        """16 hexadecimal digits."""
        return sha256(to_json(self.to_json()).encode())[:16]

    @property
    def network(self) -> str:
        """What the network is, in words."""
        parts = [cut.name for cut in self.cuts] or ["dense"]
        if self.epochs:
            parts.append(f"{sum(self.epochs)} epoch{'s' if sum(self.epochs) > 1 else ''}")
        return ", ".join(parts)

    @property
    def name(self) -> str:
        parts = [self.network]
        parts += [f"{self.values} shared values"] if self.values else []
        parts += [f"{self.bits}-bit weights"] if self.bits else []
        return f"{', '.join(parts)}; {self.file}"

    @property
    def file(self) -> str:
        return self.format if self.format.startswith("packed") else f"{self.format} {self.precision}"

    @property
    def techniques(self) -> tuple[str, ...]:
        """What was used, in words; empty for the dense network in float32."""
        found = [cut.kind for cut in self.cuts]
        found += ["sharing"] if self.values else []
        found += [f"{self.bits}-bit weights"] if self.bits else []
        found += [self.precision] if self.precision != "fp32" else []
        return tuple(dict.fromkeys(found))

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "cuts": [dataclasses.asdict(cut) for cut in self.cuts]}

    @staticmethod
    def from_json(values: dict[str, Any], where: str = "candidate") -> Candidate:
        """where: the file, for the error. Raises SettingError."""
        try:
            cuts = tuple(Cut(**cut) for cut in values["cuts"])
            found = Candidate(**{**values, "cuts": cuts, "epochs": tuple(values["epochs"])})
        except (KeyError, TypeError, ValueError) as error:
            raise SettingError(f"{where}: is no candidate ({error}); take a file that prunelle fit wrote.") from None
        return found.checked(where)

    def checked(self, where: str) -> Candidate:
        """Itself. Raises SettingError for a word or a number that is none."""
        from prunelle.ship.names import FORMATS, PRECISIONS

        amounts = [cut.amount for cut in self.cuts]
        wrong = [
            (any(cut.kind not in KINDS or cut.scope not in SCOPES for cut in self.cuts), "cuts"),
            (any(not isinstance(amount, int | float) or not 0 < amount < 1 for amount in amounts), "amount"),
            (any(type(n) is not int or not 1 <= n <= 10**6 for n in self.epochs), "epochs"),
            (self.format not in FORMATS or self.precision not in PRECISIONS[self.format], "format, precision"),
            (self.values is not None and not (type(self.values) is int and 1 <= self.values <= 256), "values"),
            (self.bits is not None and not (type(self.bits) is int and 2 <= self.bits <= 8), "bits"),
            (self.values is not None and self.bits is not None, "values, bits"),
        ]
        for bad, what in wrong:
            if bad:
                raise SettingError(f"{where}: {what} is none of this version; take a file that prunelle fit wrote.")
        return self


def read_candidate(path: str | Path) -> Candidate:
    """The candidate of a row that a search wrote. Raises CorruptFileError, SettingError."""
    return Candidate.from_json(read_sealed_json(Path(path)).get("candidate") or {}, str(path))


def cuts_to_try(by_size: bool, by_time: bool, zeros: tuple[float, ...] = ()) -> list[tuple[Cut, ...]]:
    """Cuts in the order in which they are tried: the likely ones first, so that a search that ends early has seen all
    kinds. by_size, by_time: whether the budget limits these. zeros: shares of zeros at which a small file would fit, as
    `zeros_that_fit` guesses them; they replace the usual ones.

    Zeros are chosen by one threshold where size counts, which loses least, and by cost where time alone counts.
    """
    scope = "global" if by_size else "cost"
    first, *others = zeros or (0.8, 0.9, 0.7, 0.85, 0.5, 0.95)
    found: list[tuple[Cut, ...]] = [(Cut(ZEROS, first, scope),), (Cut(CHANNELS, 0.5),), (Cut(BLOCKS, 0.5),)]
    found += [(Cut(ZEROS, amount, scope),) for amount in others[:2]]
    found += [(Cut(CHANNELS, 0.3),), (Cut(BLOCKS, 0.3),), (Cut(CHANNELS, 0.3), Cut(ZEROS, first, scope))]
    found += [(Cut(ZEROS, amount, scope),) for amount in others[2:]]
    found += [(Cut(ZEROS, first, "cost"),)] if by_size and by_time else []
    return [*found, (Cut(CHANNELS, 0.7),), (Cut(BLOCKS, 0.3), Cut(ZEROS, first, scope))]


def zeros_that_fit(num_weights: int, size_bytes: float) -> tuple[float, ...]:
    """Shares of zeros, the gentlest first, at which a packed file with shared values may take so many bytes: a guess
    that says what to try first, from the entropy of where zeros lie and BITS a value. Empty where nothing would.

    >>> zeros_that_fit(100_000, 20_000)
    (0.77, 0.82, 0.88)
    """
    bits = 8 * size_bytes / max(num_weights, 1)
    shares = [hundredth / 100 for hundredth in range(30, 99)]
    fits = [s for s in shares if -s * math.log2(s) - (1 - s) * math.log2(1 - s) + BITS * (1 - s) <= bits]
    if not fits:
        return ()
    return tuple(dict.fromkeys(round(fits[0] + (0.99 - fits[0]) * more, 2) for more in (0.0, 0.25, 0.5)))
