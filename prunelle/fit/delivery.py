"""A candidate as a file: written, opened again, held to its network, run on the validation split, timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from prunelle.data.task import Split, Task
from prunelle.errors import (
    BusyError,
    DiskError,
    LimitError,
    MissingExtraError,
    PrunelleError,
    SettingError,
    WeightsError,
    WorkError,
)
from prunelle.files import make_folder
from prunelle.fit.candidates import Candidate
from prunelle.fit.entry import Entry
from prunelle.fit.networks import Brought
from prunelle.measure.card import count
from prunelle.measure.environment import environment
from prunelle.measure.latency import Timing, time_interleaved
from prunelle.ship.candidates import SMALL, check_installed
from prunelle.ship.first_line import first_line
from prunelle.ship.formats import Order, Run, compile_packed, load_format, open_format
from prunelle.ship.gate import Exam, Parity, answers, exam_on, judge, smaller
from prunelle.ship.images import over
from prunelle.ship.shipped import Counts, Held, Shipped, list_files, running_bytes, write_shipped

LOOK = {"min_seconds": 0.2, "min_samples": 200}
RESULT = {"min_seconds": 5.0, "min_samples": 1000}


@dataclass(frozen=True)
class Bench:
    """What files are measured against. reference: the dense network in the reference runtime; images: batches of one,
    taken in turns; calibration: (N, C, H, W) training images; dense_scores: (N,) the dense network's on val;
    dense_bytes: of its weights as safetensors. words: of ship.json: the model, and the data or None."""

    task: Task
    reference: Run
    images: tuple[Tensor, ...]
    calibration: Tensor
    dense_scores: Tensor
    dense_bytes: int
    model: str
    data: str | None
    effort: Mapping[str, Any] = field(default_factory=lambda: LOOK)


@dataclass(frozen=True)
class Subject:
    """A network, and what it gives on the validation split, which its files are held to."""

    network: Brought
    exam: Exam


def subject_of(network: Brought, task: Task) -> Subject:
    return Subject(network, exam_on(network.model, task.val, task.metric, "validation split"))


@dataclass(frozen=True)
class Made:
    """A file. parity: None where the gate said no, and why. outputs: (N, classes) of the split it was judged on."""

    run: Run
    parity: Parity | None
    outputs: Tensor
    targets: Tensor
    size_bytes: int
    why: str = ""


def deliver(candidate: Candidate, subject: Subject, bench: Bench, folder: Path, final: bool = False) -> Entry:
    """Make the file of a candidate in `folder`, with ship.json, and measure it; what goes wrong is told in the entry.

    final: choose a native library's kernels by timing, and take times for as long as a result needs. Raises DiskError.
    """
    begun = monotonic()
    try:
        made = make(candidate, subject, bench, folder, final)
        reference, timing = timed(made.run, bench, RESULT if final else bench.effort)
        scores = bench.task.metric(made.outputs, made.targets).double()
        if not scores.isfinite().all():
            raise LimitError(f"{candidate.name}: the metric gives NaN or infinity for some images; it is not shipped.")
    except MissingExtraError as error:
        return Entry(candidate, "absent", str(error))
    except (DiskError, BusyError):  # which say nothing about the candidate
        raise
    except PrunelleError as error:
        status = "refused" if isinstance(error, LimitError) else "failed"
        return Entry(candidate, status, str(error), seconds=monotonic() - begun)
    card = count(candidate.name, subject.network.model, bench.task.input_shape)
    if made.parity is not None:
        write_shipped(described(candidate, subject.network, bench, folder, made, card), folder)
    lost = bench.dense_scores - scores
    assert timing.ratio and timing.ratio_low and timing.ratio_high
    return Entry(
        candidate,
        "fit" if made.parity is not None else "refused",
        made.why,
        runtime=load_format(candidate.format).runtime,
        size_bytes=made.size_bytes,
        median_ms=timing.median_ms,
        p95_ms=timing.p95_ms,
        p99_ms=timing.p99_ms,
        reference_ms=reference.median_ms,
        share=1 / timing.ratio,
        share_low=1 / timing.ratio_high,
        share_high=1 / timing.ratio_low,
        val_top1=float(scores.mean()),
        drop=100 * float(lost.mean()),
        drop_error=100 * float(lost.std(correction=0)) / math.sqrt(len(lost)),
        params=card.params,
        nnz=card.nnz,
        num_samples=timing.num_samples,
        final=final,
        seconds=monotonic() - begun,
    )


def make(candidate: Candidate, subject: Subject, bench: Bench, folder: Path, trials: bool) -> Made:
    """Write, open, and hold to the network on the subject's exam. Raises LimitError, MissingExtraError, WorkError and
    what writing raises."""
    what, precision = candidate.name, candidate.precision
    check_installed(candidate.format)
    make_folder(folder)
    exam = subject.exam
    try:
        load_format(candidate.format).write(order_of(candidate, subject.network, bench, trials), folder)
        size = running_bytes(list_files(folder, candidate.format))
        run = opened(candidate, folder, trials)
        outputs = answers(what, run, exam)
        parity, why = judged(candidate, outputs, exam)
    except PrunelleError:
        raise
    except Exception as error:  # another library's, of any class
        raise WorkError(f"{what}: could not be made ({first_line(error)}); another file is taken.") from error
    if candidate.format in SMALL or precision in SMALL:
        smaller(what, size, bench.dense_bytes)
    assert exam.targets is not None
    return Made(run, parity, outputs, exam.targets, size, why)


def judged(candidate: Candidate, outputs: Tensor, exam: Exam) -> tuple[Parity | None, str]:
    """(how close, why it may not be shipped). A cut that was not trained yet is so unsure that 8 bits change many of
    its answers: its file is measured all the same, because after a training it may pass. Raises LimitError for others.
    """
    try:
        return judge(candidate.name, outputs, exam, candidate.precision), ""
    except LimitError as error:
        if candidate.cuts and not candidate.epochs:
            return None, str(error)
        raise


def opened(candidate: Candidate, folder: Path, trials: bool) -> Run:
    """What stands in `folder`, ready to run."""
    if candidate.format == "packed-native" and not trials:
        return compile_packed(folder, trust=True, trials=False)
    return open_format(candidate.format, folder, candidate.precision, 1, trust=True)


def order_of(candidate: Candidate, network: Brought, bench: Bench, trials: bool) -> Order:
    task = bench.task
    about = {"builder": network.builder, "cuts": network.cuts, "class_names": task.class_names}
    return Order(
        network.model,
        bench.calibration[:1],
        candidate.precision,
        bench.calibration,
        "native",
        task.preprocessing,
        about,
        trials,
    )


def timed(run: Run, bench: Bench, effort: Mapping[str, Any]) -> tuple[Timing, Timing]:
    """(reference, file) in turns, one image, one thread."""
    calls: list[Callable[[], Tensor]] = [over(bench.reference, bench.images), over(run, bench.images)]
    reference, own = time_interleaved(calls, **effort)
    return reference, own


def described(candidate: Candidate, network: Brought, bench: Bench, folder: Path, made: Made, card: Any) -> Shipped:
    """ship.json of a candidate's folder."""
    task = bench.task
    return Shipped(
        format=candidate.format,
        precision=candidate.precision,
        runtime=load_format(candidate.format).runtime,
        model=bench.model,
        source_sha256=network.sha256,
        input_shape=list(task.input_shape),
        num_classes=task.num_classes,
        preprocessing=task.preprocessing.to_json(),
        class_names=list(task.class_names),
        data=bench.data,
        files=list_files(folder, candidate.format),
        sizes_bytes={"dense_safetensors": bench.dense_bytes, "shipped": made.size_bytes},
        parity=Held(**made.parity.to_json()) if made.parity else None,
        counts=Counts(
            params=card.params, nnz=card.nnz, sparsity=card.sparsity, macs=card.macs, macs_nonzero=card.macs_nonzero
        ),
        asked={"fit": candidate.to_json()},
        environment=environment(),
    )


def scores_of(model: nn.Module, split: Split, task: Task) -> Tensor:
    """(N,) the metric of each example. Raises WeightsError for outputs that are not finite, SettingError for a metric
    that does not give one finite value an example."""
    found: list[Tensor] = []
    with torch.inference_mode():
        for images, targets in split.epoch(100):
            outputs = model(images)
            if not outputs.isfinite().all():
                raise WeightsError(
                    f"{task.name}: the network gives NaN or infinity for some images; train it again, or load other "
                    "weights."
                )
            scores = task.metric(outputs, targets)
            if scores.shape != (len(images),) or not scores.isfinite().all():
                raise SettingError(
                    f"{task.name}: the metric gives {tuple(scores.shape)} for {len(images)} images, must be one finite "
                    "value an image, (N,)."
                )
            found.append(scores.double())
    return torch.cat(found)
