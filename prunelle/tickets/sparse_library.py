"""The C of sparse training as a library in this process, and its structs."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from prunelle.errors import WorkError
from prunelle.ship.compiler import compile_c, target_of
from prunelle.tickets.sparse_c import sparse_source
from prunelle.train.losses import SmoothedLabels
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.step import Update

POINTER, INT, DOUBLE = ctypes.c_void_p, ctypes.c_int32, ctypes.c_double


def fields(**kinds: Any) -> list[tuple[str, Any]]:
    """Fields of a struct: kinds by names, several names in one word with blanks between."""
    return [(name, kind) for names, kind in kinds.items() for name in names.split("__")]


class LayerC(ctypes.Structure):
    """`layer` of the C text."""

    _fields_ = fields(
        first__input__column__place__output__rows__reads=POINTER,
        num_rows__num_reads__chunks__outputs__places__weight__bias__activation=INT,
        width__high__wide__pool__pooled_high__pooled_wide__most=INT,
        slope=ctypes.c_float,
    )


class MemberC(ctypes.Structure):
    """`member` of the C text."""

    _fields_ = fields(layers__weights__first__second__counts__ends=POINTER, num_layers__num_tensors=INT)


class RuleC(ctypes.Structure):
    """`rule` of the C text."""

    _fields_ = fields(kind__nesterov=INT, momentum__weight_decay__beta1__beta2__eps__smoothing=DOUBLE)


class TaskC(ctypes.Structure):
    """`task` of the C text."""

    _fields_ = fields(
        members__size__features=INT,
        order=ctypes.POINTER(INT),
        images__labels=ctypes.POINTER(POINTER),
        lrs=ctypes.POINTER(DOUBLE),
        losses__gradients__space=POINTER,
    )


def rule_struct(rule: Update) -> RuleC:
    """An update that `sparse_chain.check_rule` let pass."""
    smoothing = rule.objective.smoothing if isinstance(rule.objective, SmoothedLabels) else 0.0
    optimizer = rule.optimizer
    if isinstance(optimizer, Adam):
        kind = 2 if optimizer.decoupled else 1
        return RuleC(kind, 0, 0.0, optimizer.weight_decay, *optimizer.betas, optimizer.eps, smoothing)
    assert isinstance(optimizer, Sgd)
    return RuleC(0, optimizer.nesterov, optimizer.momentum, optimizer.weight_decay, 0.0, 0.0, 0.0, smoothing)


@cache
def library(vector_bytes: int) -> Any:
    """The function `sparse_step` with vectors of this width, compiled for this machine the first time that the user's
    cache lacks it.

    Raises MissingExtraError without a compiler, WorkError where it fails.
    """
    made = compile_c(sparse_source(vector_bytes), target_of("native"), ("sparse_step",))
    try:
        step = ctypes.CDLL(str(made)).sparse_step
    except OSError as error:
        raise WorkError(f"{made.name}: this machine cannot load it ({error}); set CC to another compiler.") from error
    step.argtypes, step.restype = [POINTER] * 3, INT
    return step
