"""Run, a currency: the folder of one experiment with one seed. It survives a kill at any moment.

RUN/settings.json          what is run, sealed
RUN/metrics.jsonl          one line an epoch, appended
RUN/NAME.checkpoint        where a stage stands, sealed; replaced as the stage goes on
RUN/card.json              what was measured, sealed, written last: its presence means done
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from prunelle import seeds
from prunelle.errors import BusyError, CorruptFileError, RunConflictError
from prunelle.files import (
    atomic_write,
    disk_error,
    make_folder,
    read_bytes,
    read_sealed_json,
    remove,
    remove_leftovers,
    sha256,
    to_json,
    write_all,
    write_sealed_json,
)

SEAL_BYTES = 65
METRICS_HASH = "metrics_sha256"


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for this process; the system lets go when the process dies.

    Raises BusyError when another process holds it, DiskError when it cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise disk_error(path, error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{path.parent}: another process is at work there; wait for it or stop it.") from None
        except OSError as error:
            raise disk_error(path, error) from None
        yield
    finally:
        os.close(handle)


class Run:
    """A run folder. Final.

    folder: where everything goes. seed: from which all generators come. device: where tensors live.
    """

    def __init__(self, folder: Path, seed: int, device: str = "cpu") -> None:
        self.folder = folder
        self.seed = seed
        self.device = torch.device(device)
        self.shown_at = 0.0

    @staticmethod
    def open(parent: str | Path, settings: dict, seed: int, device: str = "cpu") -> Run:
        """The run of these settings below `parent`, made when absent.

        settings: plain JSON values; together with the seed they give the folder's name.
        Raises RunConflictError when the folder holds other settings, DiskError when it cannot be made.
        """
        full = {**settings, "seed": seed}
        folder = Path(parent) / Run.name_of(settings, seed)
        path = folder / "settings.json"
        make_folder(folder)
        if not path.exists():
            write_sealed_json(path, full)
        elif read_sealed_json(path) != json.loads(to_json(full)):
            raise RunConflictError(f"{folder}: holds another run's settings.json; choose another folder with --out.")
        return Run(folder, seed, device)

    @staticmethod
    def name_of(settings: dict, seed: int) -> str:
        """The name of the folder that `open` gives; nothing is made."""
        return sha256(to_json({**settings, "seed": seed}).encode())[:16]

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def done(self) -> bool:
        return (self.folder / "card.json").exists()

    def generator(self, *names: str | int) -> torch.Generator:
        """A generator of this run's seed on its device."""
        return seeds.generator(self.seed, *names, device=self.device)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; the system lets go when the process dies. Raises BusyError, DiskError."""
        with held(self.folder / "lock"):
            remove_leftovers(self.folder)
            yield

    def record(self, row: dict) -> None:
        """Append one row to metrics.jsonl, synced: a checkpoint that comes later counts on it. Raises DiskError."""
        path = self.folder / "metrics.jsonl"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                write_all(handle, (to_json(row) + "\n").encode())
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise disk_error(path, error) from None

    def rows(self) -> list[dict]:
        """The rows recorded so far; a line torn by a kill or a full disk is left out.

        Raises CorruptFileError when the run is done and the file is not the one that its card was written beside.
        """
        raw = self.metrics()
        if self.done and read_sealed_json(self.folder / "card.json").get(METRICS_HASH) != sha256(raw):
            raise CorruptFileError(
                f"{self.folder / 'metrics.jsonl'}: does not match the SHA-256 in card.json; take a fresh copy of it."
            )
        found = []
        for line in raw.split(b"\n"):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and isinstance(row.get("stage"), str) and isinstance(row.get("epoch"), int):
                found.append(row)
        return found

    def metrics(self) -> bytes:
        """The bytes of metrics.jsonl, none when nothing was recorded. Raises CorruptFileError."""
        path = self.folder / "metrics.jsonl"
        return read_bytes(path) if path.exists() else b""

    def keep_rows(self, stage: str, epoch: int) -> None:
        """Drop rows of `stage` after `epoch`, and torn lines: they will be recorded again."""
        path = self.folder / "metrics.jsonl"
        if path.exists():
            kept = [row for row in self.rows() if row.get("stage") != stage or row.get("epoch", 0) <= epoch]
            atomic_write(path, "".join(to_json(row) + "\n" for row in kept).encode())

    def save_checkpoint(self, stage: str, tensors: dict[str, Tensor], info: dict) -> None:
        """Replace the checkpoint of `stage`. info: plain JSON values. Raises DiskError."""
        plain: dict[str, Tensor] = {}
        stored: set[int] = set()
        for name, tensor in tensors.items():
            found = tensor.detach().contiguous().cpu()
            address = found.untyped_storage().data_ptr()
            # safetensors refuses two names for one storage, such as two views of one buffer.
            plain[name] = found.clone() if address in stored else found
            stored.add(address)
        body = save(plain, metadata={"info": to_json(info)})
        atomic_write(self.folder / f"{stage}.checkpoint", sha256(body).encode() + b"\n" + body)

    def load_checkpoint(self, stage: str) -> tuple[dict[str, Tensor], dict] | None:
        """(tensors on the run's device, info) of `stage`, or None when there is none. Raises CorruptFileError."""
        path = self.folder / f"{stage}.checkpoint"
        if not path.exists():
            return None
        raw = read_bytes(path)
        body = raw[SEAL_BYTES:]
        if raw[:SEAL_BYTES] != sha256(body).encode() + b"\n":
            raise CorruptFileError(f"{path}: does not match its SHA-256; delete it and start the same command again.")
        try:
            header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
            info = json.loads(header["__metadata__"]["info"])
            tensors = {name: tensor.to(self.device) for name, tensor in load(body).items()}
        except (ValueError, KeyError, SafetensorError) as error:
            raise CorruptFileError(f"{path}: is not a checkpoint ({error}); delete it and start again.") from None
        return tensors, info

    def drop_checkpoints(self) -> None:
        """Delete all checkpoints, which are of no more use once the result is saved. Raises DiskError."""
        for checkpoint in self.folder.glob("*.checkpoint"):
            remove(checkpoint)

    def finish(self, card: dict) -> None:
        """Write card.json, which marks the run as done. Raises DiskError."""
        write_sealed_json(self.folder / "card.json", {**card, METRICS_HASH: sha256(self.metrics())})

    def show(self, progress: float) -> None:
        """Tell whoever watches how far the present stage is, in [0, 1]; at most once a second, never synced."""
        if time.monotonic() - self.shown_at >= 1.0:
            self.shown_at = time.monotonic()
            with suppress(OSError):
                (self.folder / "progress").write_text(f"{progress:.4f}")

    def card(self) -> dict:
        """What `finish` was given. Raises CorruptFileError."""
        found = read_sealed_json(self.folder / "card.json")
        found.pop(METRICS_HASH, None)
        return found
