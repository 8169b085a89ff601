"""One trace of a model by torch.export: operators in order, with shapes, the module each runs in, and which parameter
each constant is."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import Tensor, fx, nn

from prunelle.errors import ModelError
from prunelle.graph.copies import Inputs, shell


@dataclass(frozen=True)
class Graph:
    """nodes: in the order they run. tensors: placeholder name -> the parameter's or buffer's name in the model.
    constants: placeholder name -> a tensor that belongs to no module. inputs, outputs: the names of nodes. parameters:
    which of the tensors are no buffers."""

    nodes: tuple[fx.Node, ...]
    tensors: dict[str, str]
    constants: dict[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    module: fx.GraphModule
    parameters: frozenset[str]


def as_inputs(example_inputs: Any) -> Inputs:
    """What a model is called with, as a tuple of positional arguments."""
    return tuple(example_inputs) if isinstance(example_inputs, (tuple, list)) else (example_inputs,)


def trace(model: nn.Module, example_inputs: Any) -> Graph:
    """Trace `model` in eval mode; the module, its flags and its values stay as they were.

    example_inputs: a tensor, or a tuple of positional arguments. Raises ModelError when torch.export cannot follow
    the forward, as where it branches on a value.
    """
    inputs = as_inputs(example_inputs)
    copied = shell(model).eval()  # a forward may keep what it computes, and would keep tracers
    with quiet():
        try:
            with torch.no_grad(), without_fast_path():
                program = torch.export.export(copied, inputs, strict=False)
        except Exception as error:  # a network may be anybody's code
            raise ModelError(
                f"{type(model).__name__}: torch.export cannot trace its forward ({reason(error)}); nothing can be cut "
                "that was not seen, so rewrite what depends on values, or split the model there."
            ) from None
    signature = program.graph_signature
    tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    lifted = signature.inputs_to_lifted_tensor_constants
    constants = {name: program.constants[where] for name, where in lifted.items()}
    outputs = tuple(str(name) for name in signature.user_outputs)
    return Graph(
        tuple(program.graph.nodes),
        {str(k): str(v) for k, v in tensors.items()},
        constants,
        tuple(str(name) for name in signature.user_inputs),
        outputs,
        program.graph_module,
        frozenset(signature.inputs_to_parameters.values()),
    )


def reason(error: Exception) -> str:
    """The line of a tracing error that says most: torch's own start with pages of advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}"


@contextmanager
def quiet() -> Iterator[None]:
    """Torch logs whole programs and warns of what a copy makes harmless; an error is told by its own message."""
    disabled = logging.root.manager.disable
    try:
        logging.disable(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def without_fast_path() -> Iterator[None]:
    """nn.TransformerEncoderLayer's fused operator hides what it does; its plain path runs instead."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def module_of(node: fx.Node) -> str:
    """The path of the innermost module whose forward runs this node; '' for the model itself."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path = str(list(stack.values())[-1][0])
    return path.split("@")[0]  # a module that is called again carries the number of the call


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of what a node gave."""
    return tuple(int(side) for side in value.shape)
