"""Another library's arrays reach the module that serves them, from every call."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from rectifier import Mask, glu, leaky_relu, relu, softmax
from rectifier.backends import registry


class Other:
    """An array of a library that NumPy knows nothing of."""

    __module__ = "another.library"
    shape = (3,)


@pytest.fixture
def asked(monkeypatch):
    """Serve `another` by a module which writes down what it is asked."""
    calls = []

    def answer(name):
        def method(*arguments):
            calls.append((name, arguments))
            if name == "with_mask":
                return "y", SimpleNamespace(parameters={})
            return {"may_share_memory": False, "kept": "kept"}.get(name, name)

        return method

    module = ModuleType("rectifier.backends.another")
    module.MASKS, module.RANK = True, 0
    for name in ("call", "rowwise", "with_mask", "backward_from_mask", "kept", "may_share_memory"):
        setattr(module, name, answer(name))
    monkeypatch.setitem(sys.modules, "rectifier.backends.another", module)
    monkeypatch.setitem(registry.SERVED_BY, "another", ".another")
    registry._known.clear()
    yield calls
    registry._known.clear()


X = Other()
CALLS = {
    "value": (lambda: relu(X), "call"),
    "derivative": (lambda: relu.derivative(X), "call"),
    "backward": (lambda: relu.backward(np.ones(3), X), "call"),
    "backward from y": (lambda: relu.backward(X, y=X), "call"),
    "backward from a mask": (lambda: relu.backward(X, mask=relu.with_mask(np.ones(3))[1]), "backward_from_mask"),
    "value and derivative": (lambda: relu.value_and_derivative(X), "call"),
    "with mask": (lambda: relu.with_mask(X), "with_mask"),
    "vjp": (lambda: relu.vjp(X), "with_mask"),
    "parameter": (lambda: leaky_relu(np.ones(3), negative_slope=X), "call"),
    "gated": (lambda: glu(np.ones(3), X), "call"),
    "gated backward": (lambda: glu.backward(np.ones(3), X, np.ones(3)), "call"),
    "gated vjp": (lambda: glu.vjp(X, X)[1](X), "call"),
    "rowwise": (lambda: softmax(X), "rowwise"),
    "rowwise backward": (lambda: softmax.backward(X, y=X), "rowwise"),
    "rowwise vjp": (lambda: softmax.vjp(X)[1](X), "rowwise"),
}


@pytest.mark.parametrize(("call", "method"), CALLS.values(), ids=CALLS)
def test_each_call_reaches_the_module_that_serves_the_type(asked, call, method):
    call()
    assert asked
    assert {name for name, _ in asked} == {method}


def test_gated_calls_pass_the_gate_as_their_only_value(asked):
    glu.backward(X, X, X)
    ((_, (block, operation, arrays, out, values, names)),) = asked
    assert (block.name, operation.outputs, out, names) == ("glu", ("dx", "dgate"), None, ("dy", "x"))
    assert arrays == (X, X)
    assert values == (X,)


def test_a_parameter_is_kept_as_it_is_at_the_call(asked, monkeypatch):
    monkeypatch.setattr(sys.modules["rectifier.backends.another"], "MASKS", False)
    _, pullback = leaky_relu.vjp(np.ones(3), negative_slope=X)
    assert ("kept", (X,)) in asked
    assert pullback.keywords["negative_slope"] == "kept"


def test_a_library_without_masks_keeps_x(asked, monkeypatch):
    monkeypatch.setattr(sys.modules["rectifier.backends.another"], "MASKS", False)
    y, pullback = relu.vjp(X)
    assert y == "call"
    assert pullback.keywords == {"x": X}


def test_y_is_refused_where_a_parameter_would_have_to_be_looked_up(asked):
    with pytest.raises(TypeError, match="pass x"):
        leaky_relu.backward(X, y=X, negative_slope=X)
    assert not asked


@pytest.mark.parametrize("array", [1.0, 3, [1.0], (1.0,), None, np.ones(1), np.float32(1), np.ma.ones(1)], ids=type)
def test_numpy_serves_its_own(array):
    assert registry.backend(array) is None


def test_a_name_that_only_begins_alike_is_another_library(asked):
    assert registry.backend(type("Array", (), {"__module__": "anotherone"})()) is None
    assert registry.backend(type("Array", (Other,), {"__module__": "mine"})()) is not None


def test_a_mask_without_a_library_stays(asked):
    _, mask = relu.with_mask(np.ones(3))
    assert isinstance(mask, Mask)
    assert not asked
