import numpy
import pytest

from prunelle.ship.onnx_lean import lean_

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def model_of(nodes: list, tensors: dict[str, numpy.ndarray]):
    """(batch, 2) floats in, called images; floats out, called 0, so that the name is taken."""
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["batch", 2])],
        [onnx.helper.make_tensor_value_info("0", onnx.TensorProto.FLOAT, ["batch", 2])],
        [onnx.numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    graph.metadata_props.add(key="note", value="of the exporter")
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 5))
    return model


def quantized_matmul(weight_zero: int, activation_zero: int = 7):
    node = onnx.helper.make_node
    return model_of(
        [
            node("QuantizeLinear", ["images", "scale of images", "zero of images"], ["codes"], name="first"),
            node("DequantizeLinear", ["codes", "scale again", "zero of images"], ["rounded"], axis=0, name="second"),
            node("DequantizeLinear", ["weight", "scales", "zeros"], ["float weight"], axis=1, name="third"),
            node("MatMul", ["rounded", "float weight"], ["0"], name="fourth"),
        ],
        {
            "scale of images": numpy.array(0.5, numpy.float32),
            "scale again": numpy.array(0.5, numpy.float32),
            "zero of images": numpy.array(activation_zero, numpy.uint8),
            "weight": numpy.array([[1, 2], [3, 4]], numpy.int8),
            "scales": numpy.array([1.0, 0.5], numpy.float32),
            "zeros": numpy.full(2, weight_zero, numpy.int8),
            "nobody reads this": numpy.zeros(1000, numpy.float32),
        },
    )


def outputs(model) -> list:
    program = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return program.run(None, {"images": numpy.array([[1.0, 2.0]], numpy.float32)})[0].tolist()


@pytest.mark.parametrize("weight_zero", [0, 1])
def test_what_is_computed_stays(weight_zero):
    model = quantized_matmul(weight_zero)
    # [1, 2] @ [[1 - z, (2 - z) / 2], [3 - z, (4 - z) / 2]]
    wanted = [[7.0, 5.0]] if weight_zero == 0 else [[4.0, 3.5]]
    assert outputs(model) == wanted
    lean_(model)
    onnx.checker.check_model(model)
    assert outputs(model) == wanted


def test_what_nobody_reads_goes():
    model = quantized_matmul(0)
    before = model.ByteSize()
    lean_(model)
    assert before - model.ByteSize() > 4000
    graph = model.graph
    assert len(graph.initializer) == 4  # the scale of images once, their zero point, the weight, its scales
    assert len(graph.node[2].input) == 2 and len(graph.node[1].input) == 3
    assert not graph.metadata_props and [one.domain for one in model.opset_import] == [""]
    assert {node.name for node in graph.node} == {""}
    assert [one.name for one in (*graph.input, *graph.output)] == ["images", "0"]
    inner = {name for node in graph.node for name in (*node.input, *node.output)} - {"images", "0"}
    assert inner == {format(number, "x") for number in range(1, 8)}


def test_a_zero_point_of_zero_for_computed_codes_stays():
    model = quantized_matmul(1, activation_zero=0)
    lean_(model)  # without it the codes would be read as the int8 that they are not
    assert [len(node.input) for node in model.graph.node] == [3, 3, 3, 2] and outputs(model) == [[4.0, 3.5]]


def test_a_graph_with_branches_is_left_alone():
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    branches = {
        name: onnx.helper.make_graph(
            [node(kind, ["images"], ["out"])], name, [], [info("out", onnx.TensorProto.FLOAT, ["batch", 2])]
        )
        for name, kind in (("then_branch", "Neg"), ("else_branch", "Identity"))
    }
    model = model_of([node("If", ["yes"], ["0"], **branches)], {"yes": numpy.array(True)})
    before = model.SerializeToString(deterministic=True)
    lean_(model)
    assert model.SerializeToString(deterministic=True) == before and outputs(model) == [[-1.0, -2.0]]
