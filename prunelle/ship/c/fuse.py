"""Fewer operations for the same result: batch norm into weights, steps behind what makes their input, channels that are
always zero or that nobody reads dropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from prunelle.ship.c.ops import (
    ZERO,
    Activate,
    AddMaps,
    Affine,
    Conv,
    Flatten,
    Linear,
    Load,
    LoadVector,
    MapEach,
    Maps,
    Mean,
    MulMaps,
    Op,
    Pool,
    Program,
    Step,
    Vector,
    VectorEach,
)
from prunelle.ship.c.reads import read_maps, read_vectors
from prunelle.ship.c.shrink import shrink_flattens, shrink_linears

KEEP_ZERO = {"relu", "silu", "tanh", "hardswish", "gelu", "gelu_tanh", "leaky"}


def fuse(program: Program) -> Program:
    """The program with every fusion done; the one given stays as it was only in what it computes."""
    ops = load_vectors(merge_strides(program.ops))
    ops = join_vectors(join_maps(ops))
    for op in ops:
        if isinstance(op, Conv | Linear):
            fold_(op)
    ops = shrink_flattens(shrink_linears(drop_zeros(ops), program.output), program.output)
    return replace(program, ops=drop_unread(ops, program.output))


def numbers(out: Maps) -> list[int]:
    return list(range(out.first, out.first + out.count))


def merge_strides(ops: list[Op]) -> list[Op]:
    """Rows taken with a stride and then columns: one operation."""
    kept: list[Op] = []
    readers = map_readers(ops)
    for op in ops:
        last = kept[-1] if kept else None
        if isinstance(op, Pool) and isinstance(last, Pool) and follows(op, last, readers):
            (a, b), (c, d) = last.stride, op.stride
            kept[-1] = replace(op, x=last.x, stride=(a * c, b * d))
        else:
            kept.append(op)
    return kept


def follows(op: Pool, last: Pool, readers: dict[int, list[Op]]) -> bool:
    """Whether both take single pixels, the second of all that the first gives and nobody else reads."""
    alone = all(len(readers[n]) == 1 for n in op.x if n != ZERO)
    return op.kernel == last.kernel == (1, 1) and op.x == numbers(last.out) and alone


def load_vectors(ops: list[Op]) -> list[Op]:
    """An image that is only flattened is copied once."""
    load = next((op for op in ops if isinstance(op, Load)), None)
    if load is None:
        return ops
    readers = [op for op in ops if set(read_maps(op)) & set(numbers(load.out))]
    if len(readers) != 1 or not isinstance(readers[0], Flatten) or readers[0].x != numbers(load.out):
        return ops
    return [LoadVector("input", readers[0].out), *(op for op in ops if op is not load and op is not readers[0])]


def map_readers(ops: list[Op]) -> dict[int, list[Op]]:
    """Channel -> the operations that read it."""
    found: dict[int, list[Op]] = {}
    for op in ops:
        for channel in set(read_maps(op)):
            found.setdefault(channel, []).append(op)
    return found


def join_maps(ops: list[Op]) -> list[Op]:
    """Steps on whole maps move behind the operation that makes the map, where nobody else reads it. That operation
    moves to the place of the steps: all they read stands there."""
    kept: list[Op] = []
    readers = map_readers(ops)
    makers: dict[int, Conv | MapEach | Pool] = {}
    for op in ops:
        if isinstance(op, MapEach):
            maker, sides = find_maker(makers, op, readers)
            if maker is not None:
                kept.remove(maker)
                steps = [*maker.steps, *op.steps]
                if sides is not None:
                    steps = [*maker.steps, AddMaps(sides), *op.steps[1:]]
                op = replace(maker, out=op.out, steps=steps, name=maker.name)
        if isinstance(op, Conv | MapEach | Pool):
            makers[op.out.first] = op
        kept.append(op)
    return kept


def find_maker(
    makers: dict[int, Conv | MapEach | Pool], op: MapEach, readers: dict[int, list[Op]]
) -> tuple[Conv | MapEach | Pool | None, list[int] | None]:
    """The operation that makes all that `op` works on and nothing else, read by nobody else. The second value: what is
    to be added instead, where the sum's second addend is the one that can take the step.

    makers: first channel -> operation. readers: of the list before anything was joined, which reads the same.
    """
    choices: list[tuple[list[int], list[int] | None]] = [(op.x, None)]
    if op.steps and isinstance(op.steps[0], AddMaps):
        choices.append((op.steps[0].other, op.x))
    for wanted, instead in choices:
        maker = makers.get(wanted[0])
        if maker is None or numbers(maker.out) != wanted:
            continue
        alone = all(reader is op for number in wanted for reader in readers.get(number, []))
        others = instead or [n for s in op.steps if isinstance(s, AddMaps | MulMaps) for n in s.other]
        if alone and not set(others) & set(wanted) and have_room([*maker.steps, *op.steps]):
            return maker, instead
    return None, None


def have_room(steps: list[Step]) -> bool:
    """Whether a table has room for what the steps look up, in either precision; see steps.FIELDS."""
    places = sum(2 if isinstance(step, AddMaps | Activate) else 1 for step in steps if not is_plain(step))
    return places < 6 and sum(isinstance(step, Affine) for step in steps) <= 2


def is_plain(step: Step) -> bool:
    """Whether a step needs no table of places: an activation without limits, a scale."""
    return isinstance(step, Affine) or (isinstance(step, Activate) and step.kind not in ("clamp", "leaky"))


def join_vectors(ops: list[Op]) -> list[Op]:
    """The same for vectors."""
    kept: list[Op] = []
    for op in ops:
        if isinstance(op, VectorEach):
            maker = next((o for o in kept if isinstance(o, Linear | VectorEach) and o.out is op.x), None)
            alone = sum(op.x in read_vectors(o) for o in ops) == 1
            joined = maker is not None and have_room([*maker.steps, *op.steps])
            twice = any(getattr(step, "other", None) is op.x for step in op.steps)
            if maker is not None and joined and alone and not twice:
                kept.remove(maker)
                op = replace(maker, out=op.out, steps=[*maker.steps, *op.steps])
        kept.append(op)
    return kept


def fold_(op: Conv | Linear) -> None:
    """Scales and shifts that follow at once go into weights and bias."""
    while op.steps and isinstance(op.steps[0], Affine):
        first = op.steps.pop(0)
        assert isinstance(first, Affine)
        op.weight = op.weight * first.scale.reshape(-1, *[1] * (op.weight.ndim - 1))
        op.bias = op.bias * first.scale + first.shift


def drop_zeros(ops: list[Op]) -> list[Op]:
    """Channels that come out zero whatever the image are read as the channel of zeros."""
    zeros: set[int] = set()
    for op in ops:
        forget_(op, zeros)
        if isinstance(op, Conv):
            dead = np.flatnonzero((op.bias == 0) & ~(inputs_read(op) != ZERO).any(axis=1)).tolist()
            zeros |= {op.out.first + i for i in dead if keeps_zero(op, i)}
        if isinstance(op, Pool):
            zeros |= {op.out.first + i for i, n in enumerate(op.x) if n == ZERO and keeps_zero(op, i)}
    return ops


def inputs_read(op: Conv) -> np.ndarray:
    """(out, in / groups): the input channel that a kernel reads, ZERO where all its weights are zero."""
    count = op.weight.shape[1]
    base = np.arange(len(op.weight)) // (len(op.weight) // op.groups) * count
    return np.asarray(op.x)[base[:, None] + np.arange(count)] * op.weight.any(axis=(2, 3))


def forget_(op: Op, zeros: set[int]) -> None:
    if isinstance(op, Conv | MapEach | Pool | Mean | Flatten):
        op.x = [ZERO if n in zeros else n for n in op.x]
    for step in getattr(op, "steps", []):
        if isinstance(step, AddMaps | MulMaps):
            step.other = [ZERO if n in zeros else n for n in step.other]


def keeps_zero(op: Conv | Pool, channel: int) -> bool:
    """Whether the steps make 0 of 0."""
    for step in op.steps:
        if isinstance(step, Activate):
            keeps = step.kind in KEEP_ZERO or (step.kind == "clamp" and step.low <= 0 <= step.high)
            if not keeps:
                return False
        elif not isinstance(step, AddMaps) or step.other[channel] != ZERO:
            return False
    return True


def drop_unread(ops: list[Op], output: Vector) -> list[Op]:
    """Without operations that nobody reads, and inputs of weights that are zero throughout."""
    kept: list[Op] = []
    maps: set[int] = set()
    vectors: set[int] = {id(output)}
    for op in reversed(ops):
        if isinstance(op.out, Maps):
            needed = isinstance(op, Load) or any(n in maps for n in numbers(op.out))
        else:
            needed = isinstance(op, LoadVector) or id(op.out) in vectors
        if needed:
            kept.append(op)
            maps |= set(really_read(op, maps))
            vectors |= {id(v) for v in read_vectors(op)}
    gone = {n for op in ops if isinstance(op.out, Maps) for n in numbers(op.out)}
    gone -= {n for op in kept if isinstance(op.out, Maps) for n in numbers(op.out)}
    for op in kept:
        forget_(op, gone)
    return kept[::-1]


def really_read(op: Op, wanted: set[int]) -> list[int]:
    """Channels that an operation reads for those of its outputs that somebody reads."""
    if not isinstance(op, Conv | Pool | MapEach):
        return read_maps(op)
    live = [channel for channel in range(op.out.count) if op.out.first + channel in wanted]
    found = np.unique(inputs_read(op)[live]).tolist() if isinstance(op, Conv) else [op.x[channel] for channel in live]
    for step in op.steps:
        if isinstance(step, AddMaps | MulMaps):
            found += [step.other[channel] for channel in live]
    return [n for n in found if n != ZERO]


def read_channels(ops: list[Op]) -> set[int]:
    """Channels that somebody reads: the others are not computed."""
    found: set[int] = set()
    for op in reversed(ops):
        found |= set(really_read(op, found))
    return found
