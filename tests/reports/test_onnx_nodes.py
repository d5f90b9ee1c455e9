"""The node tests of the ONNX standard, https://onnx.ai/onnx/operators/: inputs, attributes and expected outputs."""

from __future__ import annotations

import collections
import importlib

import numpy as np
import pytest

import rectifier

pytest.importorskip("onnx")
from onnx import helper

pytestmark = pytest.mark.slow  # it compiles many loops, for a few numbers each


def _shrink(a):
    limit, bias = a.get("lambd", 0.5), a.get("bias", 0.0)
    if bias == 0:
        return lambda x: rectifier.hard_shrink(x, threshold=limit)
    return (lambda x: rectifier.soft_shrink(x, threshold=limit)) if bias == limit else None


def _selu(a):  # which has no parameters here
    ours = (1.6732632423543772, 1.0507009873554805)
    return rectifier.selu if np.allclose([a.get("alpha", ours[0]), a.get("gamma", ours[1])], ours, rtol=1e-6) else None


def _clip(x, low=None, high=None):
    limits = np.iinfo(x.dtype) if x.dtype.kind in "iu" else None
    low = (limits.min if limits else -np.inf) if low is None else low
    high = (limits.max if limits else np.inf) if high is None else high
    return rectifier.hard_tanh(x, min_value=low, max_value=high)


# Of a node's attributes, our call; None where we have no such option.
OPERATORS = {
    "Celu": lambda a: lambda x: rectifier.celu(x, alpha=a.get("alpha", 1.0)),
    "Clip": lambda a: _clip,
    "Elu": lambda a: lambda x: rectifier.elu(x, alpha=a.get("alpha", 1.0)),
    "Gelu": lambda a: rectifier.gelu_tanh if a.get("approximate") == b"tanh" else rectifier.gelu,
    "HardSigmoid": lambda a: lambda x: rectifier.hard_sigmoid(x, slope=a.get("alpha", 0.2), offset=a.get("beta", 0.5)),
    "HardSwish": lambda a: rectifier.hard_swish,
    "LeakyRelu": lambda a: lambda x: rectifier.leaky_relu(x, negative_slope=a.get("alpha", 0.01)),
    "LogSoftmax": lambda a: lambda x: rectifier.log_softmax(x, axis=a.get("axis", -1)),
    "Mish": lambda a: rectifier.mish,
    "PRelu": lambda a: rectifier.prelu,
    "Relu": lambda a: rectifier.relu,
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": lambda a: rectifier.sigmoid,
    "Softmax": lambda a: lambda x: rectifier.softmax(x, axis=a.get("axis", -1)),
    "Softplus": lambda a: rectifier.softplus,
    "Softsign": lambda a: rectifier.softsign,
    "Swish": lambda a: lambda x: rectifier.silu(x, beta=a.get("alpha", 1.0)),
    "Tanh": lambda a: rectifier.tanh,
    "ThresholdedRelu": lambda a: lambda x: rectifier.thresholded_relu(x, threshold=a.get("alpha", 1.0)),
}
# What cannot run, and why.
WITHOUT = {
    "test_clip_min_greater_than_max": "the standard takes the largest of both bounds; here the lower one comes first",
    "test_selu": "selu has no parameters",
    "test_selu_example": "selu has no parameters",
}


@pytest.fixture(scope="module")
def cases():
    from onnx.backend.test.case.node import _NodeTestCases as made

    for operator in OPERATORS:  # each module adds its cases; ``load_model_tests`` would make those of all operators
        importlib.import_module(f"onnx.backend.test.case.node.{operator.lower()}")
    # An "expanded" case is the same data, for the graph of simpler operators that the node stands for.
    return [
        case
        for case in made
        if len(case.model.graph.node) == 1
        and case.model.graph.node[0].op_type in OPERATORS
        and "expanded" not in case.name
    ]


def test_every_node_gives_the_outputs_of_the_standard(cases):
    ran, left_out = collections.Counter(), set()
    for case in cases:
        (node,) = case.model.graph.node
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        call = OPERATORS[node.op_type](attributes)
        if call is None or case.name in WITHOUT:
            left_out.add(case.name)
            continue
        given = dict(zip([name for name in node.input if name], range(9), strict=False))
        for inputs, outputs in case.data_sets:
            arrays = [inputs[given[name]] if name else None for name in node.input]
            (expected,) = outputs
            y = call(*arrays)
            assert y.dtype == expected.dtype, case.name
            assert y.shape == expected.shape, case.name
            rtol = max(case.rtol, 2.0**-7 if expected.dtype.itemsize == 2 else 0)
            np.testing.assert_allclose(y.astype("f8"), expected.astype("f8"), rtol=rtol, atol=1e-7, err_msg=case.name)
            ran[node.op_type] += 1
    print(f"ran {dict(ran)}; left out {left_out}")
    assert left_out == set(WITHOUT)
    assert set(ran) == set(OPERATORS)
    assert sum(ran.values()) >= 60
