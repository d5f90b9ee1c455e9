"""Public functions are plain functions whose signatures tell the truth, whatever their parameters are called."""

from __future__ import annotations

import builtins
import inspect
import keyword
import traceback

import numpy as np
import pytest

from conftest import run_python
from rectifier import elementwise, gated, glu, leaky_relu, prelu, softmin
from rectifier.catalogue import ALL
from rectifier.formulas import T, where
from rectifier.formulas.text import FormulaError
from rectifier.functions import signatures

X = np.array([-2.0, 0.5, 3.0])

# What a template, a builtin or a language may use; none of them is special as a parameter.
NAMES = ["type", "ndarray", "Mask", "both", "d", "self", "float", "_hidden", "call"]

SCALED = """
@elementwise(exact=lambda m, x, {0}: m.where(x > 0, x, {0} * x), special=(), ulp=0, backward_from=("x", "mask"))
def scaled(x, {0}=0.5):
    return where(x <= T(0), {0} * x, x)

@scaled.derivative
def scaled_derivative(x, {0}=0.5):
    return where(x <= T(0), {0}, where(x == x, T(1), x))
"""
# The mask's formula has the parameter too.
SCALED = SCALED.replace(
    'backward_from=("x", "mask"))', 'backward_from=("x", "mask"), mask=lambda x, {0}: (x <= T(0), {0}, T(1)))'
)
WEIGHED = """
@gated(exact=lambda m, x, {0}: x * {0}, ulp=0)
def weighed(x, {0}):
    return x * {0}

@weighed.gradient
def weighed_gradient(x, {0}):
    return {0}, x
"""


def made(text: str, name: str) -> dict:
    scope = {"elementwise": elementwise, "gated": gated, "T": T, "where": where, "__name__": __name__}
    exec(text.format(name), scope)
    return scope


@pytest.mark.parametrize("name", NAMES)
def test_any_identifier_is_a_parameter(name, monkeypatch):
    monkeypatch.setenv("RECTIFIER_STORE", "")
    scaled = made(SCALED, name)["scaled"]
    for given in ({}, {name: 0.25}, {name: np.array([1.0, 2.0, 4.0])}):
        slope = given.get(name, 0.5)
        expected, d = np.where(X <= 0, slope * X, X), np.where(X <= 0, slope, 1.0)
        assert np.array_equal(scaled(X, **given), expected)
        assert np.array_equal(scaled.derivative(X, **given), d)
        assert np.array_equal(scaled.backward(X, X, **given), X * d)
        y, mask = scaled.with_mask(X, **given)
        assert np.array_equal(scaled.backward(X, mask=mask, **given), X * d)
        assert np.array_equal(scaled.vjp(X, **given)[1](X), X * d)
        assert [*map(list, scaled.value_and_derivative(X, **given))] == [list(expected), list(d)]
        assert np.array_equal(y, expected)
    assert list(inspect.signature(scaled.backward).parameters) == ["dy", "x", "out", "y", "mask", name]


@pytest.mark.parametrize("name", ["type", "Mask", "dx", "float"])
def test_any_identifier_is_a_gate(name):
    weighed = made(WEIGHED, name)["weighed"]
    gate = np.array([1.0, 2.0, -1.0])
    assert np.array_equal(weighed(X, gate), X * gate)
    dx, dgate = weighed.backward(X, X, **{name: gate})
    assert np.array_equal(dx, X * gate)
    assert np.array_equal(dgate, X * X)
    assert list(inspect.signature(weighed.backward).parameters) == ["dy", "x", name, "out"]


@pytest.mark.parametrize("text", [SCALED, WEIGHED], ids=["parameter", "gate"])
@pytest.mark.parametrize("name", ["dy", "y", "out", "mask", "axis", "_compiled_", "_y_", "__class__"])
def test_what_the_calls_are_called_themselves_is_refused(text, name):
    with pytest.raises(FormulaError, match=f"an argument of a formula cannot be called '{name}'"):
        made(text, name)


def test_no_template_uses_a_name_that_a_parameter_may_have():
    texts = [text for name, text in vars(signatures).items() if name.isupper() and isinstance(text, str)]
    assert len(texts) > 10
    for text in texts:
        names = {"gate": "gate"} | dict.fromkeys(("keywords", "more_keywords", "values", "same", "named"), "")
        whole = compile(text.format(**names, same_keywords="", numbers="True"), "template", "exec")
        code = next(constant for constant in whole.co_consts if hasattr(constant, "co_names"))
        used = {*code.co_names, *code.co_varnames} - {"gate", "shape", "_function", "_shape", "_bits", "_parameters"}
        if text in (signatures.PACKED, signatures.PACKED_BACKWARD):
            used -= signatures.OF_PACKED
        if text in (signatures.REDUCTION, signatures.REDUCTION_BACKWARD, signatures.REDUCTION_PREPARED):
            used -= {"where", "keepdims"}  # these functions have no parameters
        if text is signatures.QUANTIZED:  # a function with such a parameter has no such call
            used -= signatures.QUANTITIES
        assert all(map(signatures.is_reserved, used)), used
    assert not any(map(signatures.is_reserved, (*dir(builtins)[:0], *keyword.kwlist)))


def test_a_required_parameter_has_no_default():
    """In a process of its own: `conftest` gives those of the catalogue numbers, so that tests call all alike."""
    code = """
import inspect
from rectifier import threshold
calls = [threshold, threshold.derivative, threshold.vjp, threshold.with_mask, threshold.value_and_derivative]
assert {str(inspect.signature(call)) for call in calls} == {"(x, out=None, *, threshold, value)"}
assert str(inspect.signature(threshold.backward)) == "(dy, x=None, out=None, *, y=None, mask=None, threshold, value)"
assert threshold([1, 2], threshold=1, value=9).tolist() == [9, 2]
print(threshold.__doc__.count("default"))
threshold([1, 2], threshold=1)
"""
    run = run_python(code)
    assert run.stdout.strip() == "0", run.stderr
    message = "TypeError: threshold() missing 1 required keyword-only argument: 'value'"
    assert run.stderr.strip().splitlines()[-1] == message


def test_signatures_tell_the_truth():
    assert str(inspect.signature(softmin)) == "(x, out=None, *, axis=-1)"
    assert str(inspect.signature(softmin.backward)) == "(dy, x=None, out=None, *, y=None, axis=-1)"
    assert str(inspect.signature(leaky_relu)) == "(x, out=None, *, negative_slope=0.01)"
    assert str(inspect.signature(prelu.backward)) == "(dy, x, slope, out=None)"
    assert str(inspect.signature(glu)) == "(x, gate, out=None)"


@pytest.mark.parametrize("name", ALL)
def test_every_public_function_is_a_plain_function_with_a_docstring(name):
    function = ALL[name]
    methods = [getattr(function, method) for method in ("derivative", "backward", "vjp") if hasattr(function, method)]
    for public in (function, *methods):
        assert inspect.isfunction(public)
        assert public.__module__ == "rectifier"
        assert "Parameters\n" in public.__doc__
        assert inspect.signature(public)


def test_a_traceback_shows_the_line_of_a_template():
    try:
        leaky_relu(np.ones(3), negative_slope="steep")
    except TypeError as error:
        lines = "".join(traceback.format_exception(error))
    assert "in leaky_relu\n    return _call_({'x': x}, out, {'negative_slope': negative_slope})" in lines


CLAMPED = """
@gated(exact=lambda m, x, gate, limit, scale: m.where(gate < limit, gate, limit) * scale * x, ulp=1)
def clamped(x, gate, limit=1.0, scale=2.0):
    '''Return x * scale * min(gate, limit).'''
    return where(gate >= limit, limit, gate) * scale * x

@clamped.gradient
def clamped_gradient(x, gate, limit=1.0, scale=2.0):
    return where(gate >= limit, limit, gate) * scale, where(gate >= limit, T(0), scale * x)
"""


@pytest.fixture(scope="module")
def clamped():
    return made(CLAMPED, "")["clamped"]


@pytest.mark.parametrize("kind", ["f4", "f8", "strided", "integers"])
@pytest.mark.parametrize("given", [{}, {"limit": 0.5}, {"scale": np.array([1.0, 4.0, 0.5])}], ids=str)
def test_gated_functions_have_parameters(clamped, kind, given):
    x, gate, dy = (np.array(numbers, "f4") for numbers in ([1, 2, -3], [0.25, 2, -1], [1, -1, 2]))
    if kind == "strided":
        x, gate = np.repeat(x, 2)[::2], np.repeat(gate, 3)[::3]
    elif kind == "integers":
        x = x.astype("i4")
    else:
        x, gate, dy = (array.astype(kind) for array in (x, gate, dy))
    limit, scale = given.get("limit", 1.0), given.get("scale", 2.0)
    g = np.minimum(gate, limit)
    on = gate < limit
    assert np.array_equal(clamped(x, gate, **given), g * scale * x)
    for dx, dgate in (clamped.backward(dy, x, gate, **given), clamped.vjp(x, gate, **given)[1](dy)):
        assert np.array_equal(dx, dy * g * scale)
        assert np.array_equal(dgate, np.where(on, dy * scale * x, 0))


def test_the_gradient_of_a_broadcast_gate_is_summed_beside_parameters(clamped):
    x, gate, dy = np.arange(6.0).reshape(2, 3), np.array([0.5, 2.0, -1.0]), np.ones((2, 3))
    dx, dgate = clamped.backward(dy, x, gate, limit=1.5, scale=3.0)
    assert dx.shape == (2, 3)
    assert np.array_equal(dgate, np.where(gate < 1.5, 3.0 * x.sum(axis=0), 0))
    with pytest.raises(TypeError, match="unexpected keyword argument 'slope'"):
        clamped(x, gate, slope=1)


@pytest.mark.parametrize("library", ["dask.array", "torch", "jax.numpy", "pandas"])
def test_gated_functions_have_parameters_in_every_library(clamped, library):
    module = pytest.importorskip(library)
    make = {"dask.array": lambda a: module.from_array(a, chunks=2), "pandas": lambda a: module.Series(a)}.get(
        library, module.asarray if library != "pandas" else None
    )
    x, gate, dy = (np.array(numbers, "f4") for numbers in ([1, 2, -3], [0.25, 2, -1], [1, -1, 2]))
    expected = (clamped(x, gate, limit=0.5), *clamped.backward(dy, x, gate, limit=0.5))
    ours = (clamped(make(x), make(gate), limit=0.5), *clamped.backward(make(dy), make(x), make(gate), limit=0.5))
    for a, b in zip(ours, expected, strict=True):
        assert np.array_equal(np.asarray(a), b)
