"""Sizes that torch's own layers hold in attributes, after a cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from prunelle.graph.cuts import Attribute
from prunelle.graph.folds import short
from prunelle.graph.sets import Tied
from prunelle.graph.ties import Removed
from prunelle.graph.trace import module_of
from prunelle.graph.value import Axis, Value

CONV, NORM = nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase
KNOWN = (
    CONV, NORM, nn.Linear, nn.GroupNorm, nn.LayerNorm, nn.Embedding, nn.PReLU, nn.MultiheadAttention, nn.RNNBase,
)  # fmt: skip


def kept(tied: Tied, axis: Axis, removed: Removed) -> int:
    """How many indices of an axis stay. removed: (labels,) by unit."""
    return int((~removed[tied.components.root[axis.labels]]).sum())


def known(tied: Tied, removed: Removed) -> Iterator[Attribute]:
    """The attributes that change, read from the operators that the layers run."""
    done: set[str] = set()
    for node in tied.graph.nodes:
        path = module_of(node)
        module = tied.state.modules.get(path)
        if node.op != "call_function" or path in done or not isinstance(module, KNOWN):
            continue
        new = sizes_of(tied, node, module, removed)
        if new:
            done.add(path)
        for name, value in new.items():
            if name in vars(module) and getattr(module, name) not in (None, value):
                yield Attribute(module=path, name=name, value=value)


def sizes_of(tied: Tied, node: Any, module: nn.Module, removed: Removed) -> dict[str, int]:
    """The sizes of one layer, when this is the operator that it is named for; else nothing."""
    op = short(node)
    values = [tied.state.values.get(arg) if hasattr(arg, "op") else None for arg in node.args]
    x, out = values[0] if values else None, tied.state.values.get(node)
    if not isinstance(x, Value):
        return {}

    def count(axis: Axis) -> int:
        return kept(tied, axis, removed)

    if isinstance(module, nn.RNNBase) and op in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        rows = tied.tensor(node.args[2][1]).axes[0]
        return {"input_size": count(x.axes[-1]), "hidden_size": count(rows) * module.hidden_size // len(rows)}
    if isinstance(module, NORM) and op in ("batch_norm", "instance_norm"):
        return {"num_features": count(x.axes[1])}
    if isinstance(module, nn.GroupNorm) and op == "group_norm":
        channels = count(x.axes[1])
        return {"num_channels": channels, "num_groups": channels * module.num_groups // module.num_channels}
    if isinstance(module, nn.PReLU) and op == "prelu" and module.num_parameters > 1:
        return {"num_parameters": count(x.axes[1])}
    if isinstance(module, nn.MultiheadAttention) and op == "linear":
        return attention_sizes(tied, node, module, removed)
    if not isinstance(out, Value):
        return {}
    if isinstance(module, CONV) and op.startswith("conv"):
        return conv_sizes(tied, x, out, values[1], module, removed)
    if isinstance(module, nn.Linear) and op == "linear":
        return {"in_features": count(x.axes[-1]), "out_features": count(out.axes[-1])}
    if isinstance(module, nn.Embedding) and op == "embedding":
        return {"embedding_dim": count(out.axes[-1])}
    return {}


def conv_sizes(tied: Tied, x: Value, out: Value, weight: Any, module: nn.Module, removed: Removed) -> dict[str, int]:
    """Channels in and out; where groups went whole, how many are left."""
    assert isinstance(module, CONV)
    channel = x.ndim - len(module.kernel_size) - 1
    ins, outs = kept(tied, x.axes[channel], removed), kept(tied, out.axes[channel], removed)
    groups = module.groups
    if groups > 1 and not any(each.tensor == weight.tensor for each in tied.state.grouped):
        groups = ins // (module.in_channels // groups)
    return {"in_channels": ins, "out_channels": outs, "groups": groups}


def attention_sizes(tied: Tied, node: Any, module: nn.MultiheadAttention, removed: Removed) -> dict[str, int]:
    """nn.MultiheadAttention reads queries, keys and values by one product, or by three in this order."""
    path = module_of(node)
    reads: list[Any] = [each for each in tied.graph.nodes if module_of(each) == path and short(each) == "linear"]
    widths = [kept(tied, tied.tensor(each.args[0]).axes[-1], removed) for each in reads[:3]]
    keys, values = (widths[0], widths[0]) if module._qkv_same_embed_dim else widths[1:3]
    return {"embed_dim": widths[0], "kdim": keys, "vdim": values, "head_dim": widths[0] // module.num_heads}
