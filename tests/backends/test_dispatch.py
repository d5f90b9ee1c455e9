"""Another library's arrays reach the module that serves them, from every call."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from conftest import optional
from rectifier import Mask, glu, leaky_relu, logsumexp, relu, softmax, softmax_cross_entropy
from rectifier.backends import registry


class Other:
    """An array of a library that NumPy knows nothing of."""

    __module__ = "another.library"
    shape = (3,)


class Packed(Other):
    shape = (4,)

    def __getitem__(self, key):
        return self


@pytest.fixture
def asked(monkeypatch):
    """Serve `another` by a backend that writes down the calls, and the parameters that are kept."""
    calls = []

    def compute(call):
        calls.append(call)
        return ("y", SimpleNamespace(parameters={})) if call.operation.makes_mask else call.name

    backend = ModuleType("rectifier.backends.another")
    backend.RANK, backend.capabilities, backend.kept = 0, frozenset(registry.CAPABILITIES), []
    backend.compute, backend.may_share_memory = compute, lambda a, b: False
    backend.snapshot = lambda value: backend.kept.append(value) or "kept"
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    monkeypatch.setitem(registry.SERVED_BY, "another", ".another")
    registry._known.clear()
    yield calls
    registry._known.clear()


def without(monkeypatch, *capabilities):
    backend = sys.modules["rectifier.backends.another"]
    monkeypatch.setattr(backend, "capabilities", backend.capabilities - {*capabilities})
    return backend


X = Other()
CALLS = {
    "value": (lambda: relu(X), "relu", ("x",)),
    "derivative": (lambda: relu.derivative(X), "relu.derivative", ("x",)),
    "backward": (lambda: relu.backward(np.ones(3), X), "relu.backward", ("dy", "x")),
    "backward from y": (lambda: relu.backward(X, y=X), "relu.backward", ("dy", "y")),
    "backward from a mask": (
        lambda: relu.backward(X, mask=relu.with_mask(np.ones(3))[1]), "relu.backward", ("dy", "mask")
    ),
    "value and derivative": (lambda: relu.value_and_derivative(X), "relu.value_and_derivative", ("x",)),
    "with mask": (lambda: relu.with_mask(X), "relu.with_mask", ("x",)),
    "vjp": (lambda: relu.vjp(X), "relu.with_mask", ("x",)),
    "parameter": (lambda: leaky_relu(np.ones(3), negative_slope=X), "leaky_relu", ("x",)),
    "gated": (lambda: glu(np.ones(3), X), "glu", ("x", "gate")),
    "gated backward": (lambda: glu.backward(np.ones(3), X, np.ones(3)), "glu.backward", ("dy", "x", "gate")),
    "gated vjp": (lambda: glu.vjp(X, X)[1](X), "glu.backward", ("dy", "x", "gate")),
    "rowwise": (lambda: softmax(X), "softmax", ("x",)),
    "rowwise backward": (lambda: softmax.backward(X, y=X), "softmax.backward", ("dy", "y")),
    "rowwise vjp": (lambda: softmax.vjp(X)[1](X), "softmax.backward", ("dy", "y")),
}  # fmt: skip


@pytest.mark.parametrize(("call", "name", "operands"), CALLS.values(), ids=CALLS)
def test_each_call_reaches_the_backend_that_serves_the_type(asked, call, name, operands):
    call()
    assert asked[-1].name == name
    assert tuple(asked[-1].operands) == operands


def test_parameters_come_by_their_names_and_out_as_it_is(asked):
    leaky_relu(X, X, negative_slope=0.5)
    (call,) = asked
    assert (call.operands, call.parameters, call.out) == ({"x": X}, {"negative_slope": 0.5}, X)


def test_a_parameter_is_kept_as_it_is_at_the_call(asked, monkeypatch):
    backend = without(monkeypatch, "mask")
    _, pullback = leaky_relu.vjp(np.ones(3), negative_slope=X)
    assert backend.kept == [X]
    assert pullback.keywords["negative_slope"] == "kept"


def test_a_backend_without_masks_keeps_x(asked, monkeypatch):
    without(monkeypatch, "mask")
    y, pullback = relu.vjp(X)
    assert y == "relu"
    assert pullback.keywords == {"x": X}


KIND = r"another\.library\.Other"
REFUSED = {
    "out": (lambda: relu(X, np.ones(3)), f"relu: out is for arrays of NumPy and CuPy, and this call has a {KIND}"),
    "mask": (lambda: relu.with_mask(X), rf"relu\.with_mask: x is a {KIND}, and masks are for arrays of NumPy"),
    "rows": (lambda: softmax(X), f"softmax takes NumPy arrays, and x is a {KIND}; convert to NumPy first"),
    "reductions": (lambda: logsumexp(X), f"logsumexp takes NumPy arrays, and x is a {KIND}; convert to NumPy first"),
    "packed": (
        lambda: glu.packed(Packed(), order="gate_first"),
        r"glu\.packed: a is a .*Packed, .*convert it to",
    ),
    "tables": (
        lambda: relu.quantized(X, scale=1.0, zero_point=0, out_scale=1.0, out_zero_point=0),
        rf"relu\.quantized.*{KIND}",
    ),
    "options": (
        lambda: softmax(X, scale=0.5),
        f"softmax: where, scale, causal and sink are not for a {KIND}, which x is",
    ),
    "losses": (lambda: softmax_cross_entropy(X, [0]), rf"softmax_cross_entropy takes arrays of .*, and x is a {KIND}"),
    "gradients": (lambda: glu.backward(X, X, X), rf"glu\.backward takes NumPy arrays, and dy is a {KIND}"),
}


@pytest.mark.parametrize("capability", registry.CAPABILITIES)
def test_what_a_backend_cannot_do_is_refused_before_it_is_asked(asked, monkeypatch, capability):
    call, message = REFUSED[capability]
    call()
    assert len(asked) == 1
    without(monkeypatch, capability)
    with pytest.raises(TypeError, match=message):
        call()
    assert len(asked) == 1


def test_y_is_refused_where_a_parameter_would_have_to_be_looked_up(asked):
    with pytest.raises(TypeError, match="pass x"):
        leaky_relu.backward(X, y=X, negative_slope=X)
    assert not asked


@pytest.mark.parametrize("array", [1.0, 3, [1.0], (1.0,), None, np.ones(1), np.float32(1), np.ma.ones(1)], ids=type)
def test_numpy_serves_its_own(array):
    assert not registry.is_other(array)


def test_a_name_that_only_begins_alike_is_another_library(asked):
    assert not registry.is_other(type("Array", (), {"__module__": "anotherone"})())
    assert registry.is_other(type("Array", (Other,), {"__module__": "mine"})())


def test_a_mask_without_a_library_stays(asked):
    _, mask = relu.with_mask(np.ones(3))
    assert isinstance(mask, Mask)
    assert not asked


ROWS = {  # of the guide's table, and the backends that they are about
    "NumPy": "numpy", "CuPy": "cupy.calls", "Dask": "dask", "JAX, PyTorch, the array API standard": "array_api",
    "pandas, Polars, PyArrow, xarray": "labelled", "astropy, pint, unyt": "quantities",
    "others with ufuncs of their own": "ufunc",
}  # fmt: skip
COLUMNS = ("rows", "reductions", "options", "losses", "gradients", "packed", "tables", "out", "mask")


def test_the_guide_says_what_each_backend_can_do():
    guide = Path(__file__).parents[2] / "docs" / "guide" / "other-array-libraries.md"
    *_, table = guide.read_text().split("## What works with which library")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    said = {name: {column for column, cell in zip(COLUMNS, cells, strict=True) if cell} for name, *cells in lines[2:]}
    assert set(said) == set(ROWS)
    assert {f".{module}" for module in ROWS.values()} >= {*registry.SERVED_BY.values(), registry.STANDARD}
    for name, module in ROWS.items():
        if optional(module.partition(".")[0]) or module not in ("cupy.calls", "dask"):
            backend = import_module(f"rectifier.backends.{module}")
            assert said[name] == backend.capabilities <= set(registry.CAPABILITIES), name
