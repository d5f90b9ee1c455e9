"""The operators for ONNX's reference evaluator: the standard's own node tests, and what older opsets mean."""

from __future__ import annotations

import collections
import importlib
from pathlib import Path

import numpy as np
import pytest

import rectifier

pytest.importorskip("onnx")
import onnx
from onnx import helper, numpy_helper, parser
from onnx.backend.test.runner import Runner
from onnx.inliner import inline_local_functions
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from rectifier.compat.onnx import OPERATORS

NAMES = {operator.__name__ for operator in OPERATORS}


@pytest.fixture(scope="module")
def cases():
    from onnx.backend.test.case.node import _NodeTestCases as made

    for operator in NAMES:  # each module adds its cases; ``load_model_tests`` would make those of all operators
        importlib.import_module(f"onnx.backend.test.case.node.{operator.lower()}")
    # An "expanded" case is the same data, for the graph of simpler operators that the node stands for.
    return [case for case in made if {node.op_type for node in case.model.graph.node} & NAMES]


def ours(evaluator: ReferenceEvaluator) -> list[OpRun]:
    return [node for node in evaluator.rt_nodes_ if type(node) in OPERATORS]


def test_every_node_gives_the_outputs_of_the_standard(cases):
    ran = collections.Counter()
    for case in cases:
        evaluator = ReferenceEvaluator(case.model, new_ops=OPERATORS)
        assert ours(evaluator), case.name
        for inputs, outputs in case.data_sets:
            made = evaluator.run(None, dict(zip(evaluator.input_names, inputs, strict=True)))
            Runner.assert_similar_outputs(outputs, made, case.rtol, case.atol)
            assert [array.dtype for array in made] == [array.dtype for array in outputs], case.name
        ran.update(node.op_type for node in ours(evaluator))
    assert set(ran) == NAMES
    assert len(ran) == 21
    assert sum(ran.values()) >= 70


FOLDERS = Path(onnx.__file__).parent / "backend" / "test" / "data"


def test_models_that_pytorch_exported_long_ago_give_its_outputs():
    """Of opset 6, where a slope of a PRelu lies along the second axis and a softmax flattens."""
    ran = collections.Counter()
    for path in sorted(FOLDERS.glob("pytorch-*/*/model.onnx")):
        model = onnx.load(path)
        if not {node.op_type for node in model.graph.node} & NAMES:
            continue
        evaluator = ReferenceEvaluator(model, new_ops=OPERATORS)
        for folder in path.parent.glob("test_data_set_*"):
            inputs, outputs = (
                [numpy_helper.to_array(onnx.load_tensor(file)) for file in sorted(folder.glob(f"{kind}_*.pb"))]
                for kind in ("input", "output")
            )
            made = evaluator.run(None, dict(zip(evaluator.input_names, inputs, strict=False)))
            Runner.assert_similar_outputs(outputs, made, 1e-3, 1e-7)
        ran.update(node.op_type for node in ours(evaluator))
    assert {"Elu", "LeakyRelu", "LogSoftmax", "PRelu", "Relu", "Selu", "Sigmoid", "Softmax", "Tanh"} <= set(ran)


def run(operator: str, opset: int, *inputs: np.ndarray, **attributes: object) -> np.ndarray:
    names = [f"x{k}" for k in range(len(inputs))]
    node = helper.make_node(operator, names, ["y"], **attributes)
    kinds = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in inputs]
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, kinds, strict=True)],
        [helper.make_tensor_value_info("y", kinds[0], None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    (y,) = ReferenceEvaluator(model, new_ops=OPERATORS).run(None, dict(zip(names, inputs, strict=True)))
    return y


X = np.random.default_rng(0).standard_normal((2, 3, 4), dtype=np.float32)


@pytest.mark.parametrize("operator", sorted(NAMES & {"Softmax", "LogSoftmax", "Hardmax"}))
@pytest.mark.parametrize("opset", [1, 11, 12, 13, 22])
def test_rows_are_flattened_before_opset_13_and_one_axis_since(operator, opset):
    function = getattr(rectifier, {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Hardmax": "hardmax"}[operator])
    flat = {axis: function(X.reshape(lead, -1)).reshape(X.shape) for axis, lead in ((0, 1), (1, 2), (2, 6))}
    default = flat[1] if opset < 13 else function(X)
    np.testing.assert_array_equal(run(operator, opset, X), default)
    for axis in (0, 1, 2):
        expected = flat[axis] if opset < 13 else function(X, axis=axis)
        np.testing.assert_array_equal(run(operator, opset, X, axis=axis), expected)
        np.testing.assert_array_equal(run(operator, opset, X, axis=axis - 3), expected)
    assert not np.array_equal(flat[1], function(X, axis=1))
    with pytest.raises(ValueError, match="axis"):
        run(operator, opset, X, axis=4)


def test_defaults_are_those_of_the_opset():
    np.testing.assert_array_equal(run("HardSigmoid", 1, X), rectifier.hard_sigmoid(X, slope=float(np.float32(0.2))))
    np.testing.assert_array_equal(run("LeakyRelu", 6, X), rectifier.leaky_relu(X))
    np.testing.assert_array_equal(run("Selu", 6, X), rectifier.selu(X))
    first = np.where(X > 0, X, np.float32(1.6732) * np.expm1(X)) * np.float32(1.0507)
    np.testing.assert_allclose(run("Selu", 1, X), first, rtol=1e-6)
    assert not np.allclose(first, rectifier.selu(X), rtol=1e-6)
    doubles = X.astype(np.float64)
    slope = float(np.float32(0.01))  # an attribute is a float32, whatever the input is
    np.testing.assert_array_equal(run("LeakyRelu", 16, doubles), np.where(doubles > 0, doubles, slope * doubles))


def test_a_slope_lies_along_the_second_axis_before_opset_7():
    slope = np.array([0.1, 0.2, 0.3], np.float32)
    expected = rectifier.prelu(X, slope[:, None])
    np.testing.assert_array_equal(run("PRelu", 6, X, slope), expected)
    np.testing.assert_array_equal(run("PRelu", 7, X, slope[:, None]), expected)
    np.testing.assert_array_equal(run("PRelu", 6, X, slope[:1]), rectifier.prelu(X, slope[:1]))
    with pytest.raises(ValueError, match=r"PRelu: slope has shape \(5, 1, 1, 4\)"):
        run("PRelu", 16, X, np.ones((5, 1, 1, 4), np.float32))


def test_integers_stay_integers():
    x = np.array([-(2**61) - 1, -3, 0, 2**62 + 1])
    assert run("PRelu", 16, x, np.array([2])).tolist() == [-(2**62) - 2, -6, 0, 2**62 + 1]
    assert run("Shrink", 9, np.array([-4, -1, 0, 1, 4], np.int8), lambd=1.5, bias=1.5).tolist() == [-2, 0, 0, 0, 2]
    assert run("Relu", 14, x).tolist() == [0, 0, 0, 2**62 + 1]
    assert run("PRelu", 9, np.array([7], np.uint32), np.array([3], np.uint32)).dtype == np.uint32


def test_the_gate_of_swiglu_is_its_first_input_and_alpha_is_in_its_sigmoid():
    a, b = X[0], X[1]
    np.testing.assert_array_equal(run("SwiGLU", 28, a, b), rectifier.swiglu(b, a))
    np.testing.assert_allclose(run("SwiGLU", 28, a, b, alpha=1.5), b * rectifier.silu(a, beta=1.5), rtol=1e-6)
    with pytest.raises(ValueError, match=r"SwiGLU: A is float32 of shape \(3, 4\), B float32 of shape \(1, 4\)"):
        run("SwiGLU", 28, a, b[:1])


def test_what_an_operator_does_not_know_is_refused():
    with pytest.raises(ValueError, match="Shrink: lambd is -1"):
        run("Shrink", 9, X, lambd=-1.0)
    with pytest.raises(ValueError, match="approximate is 'sigmoid'"):
        run("Gelu", 20, X, approximate="sigmoid")
    np.testing.assert_array_equal(run("Gelu", 20, X, approximate="tanh"), rectifier.gelu_tanh(X))


def test_graphs_within_a_model_and_attributes_of_its_functions_are_served():
    model = parser.parse_model(
        """<ir_version: 9, opset_import: ["": 18]> graph (bool c, float[N] x) => (float[N] y) {
            y = If (c) <
                then_branch = yes () => (float[N] a) { a = Mish(x) },
                else_branch = no () => (float[N] b) { b = Elu <alpha = 2.0> (x) }
            >
        }"""
    )
    evaluator = ReferenceEvaluator(model, new_ops=OPERATORS)
    x = X.ravel()
    for condition, expected in ((True, rectifier.mish(x)), (False, rectifier.elu(x, alpha=2.0))):
        (y,) = evaluator.run(None, {"c": np.array(condition), "x": x})
        np.testing.assert_array_equal(y, expected)


def test_results_of_no_dimension_are_arrays():
    y = run("Gelu", 20, np.array(1.0, np.float32))
    assert isinstance(y, np.ndarray)
    assert y.shape == ()


def test_functions_of_a_model_are_served_when_they_are_inlined():
    model = parser.parse_model(
        """<ir_version: 9, opset_import: ["": 18, "own": 1]>
        graph (float[N] x) => (float[N] y) { y = own.f <a = 0.5> (x) }
        <domain: "own", opset_import: ["": 18]> f <a> (x) => (y) { y = LeakyRelu <alpha: float = @a> (x) }"""
    )
    evaluator = ReferenceEvaluator(inline_local_functions(model), new_ops=OPERATORS)
    assert ours(evaluator)
    (y,) = evaluator.run(None, {"x": X.ravel()})
    np.testing.assert_array_equal(y, rectifier.leaky_relu(X.ravel(), negative_slope=0.5))
