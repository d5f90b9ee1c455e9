"""Quantities of astropy, pint and unyt: their units are kept where a function is the same in every unit.

astropy/astropy#19005 and yt-project/unyt#141: such a library refuses a ufunc that it does not know.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import rectifier
from rectifier import celu, elu, glu, hard_tanh, leaky_relu, prelu, relu, sigmoid, softmax, softplus, thresholded_relu
from rectifier.backends.quantities import is_homogeneous
from rectifier.formulas.mpmath import MPMATH, Dual
from rectifier.functions.specification import Elementwise, Gated

X = np.array([-1.0, 2.0], "f4")


class Astropy:
    def __init__(self):
        self.units = pytest.importorskip("astropy.units")

    def make(self, numbers, unit):
        return self.units.Quantity(numbers, unit, dtype=np.asarray(numbers).dtype)

    def split(self, quantity):
        return quantity.value, quantity.unit

    celsius = "deg_C"


class Pint:
    def __init__(self):
        self.registry = pytest.importorskip("pint").UnitRegistry()

    def make(self, numbers, unit):
        return self.registry.Quantity(numbers, unit)

    def split(self, quantity):
        return quantity.magnitude, quantity.units

    celsius = "degC"


class Unyt:
    def __init__(self):
        self.unyt = pytest.importorskip("unyt")

    def make(self, numbers, unit):
        return self.unyt.unyt_array(numbers, unit) if np.ndim(numbers) else self.unyt.unyt_quantity(numbers, unit)

    def split(self, quantity):
        return quantity.view(np.ndarray), quantity.units

    celsius = "degC"


@pytest.fixture(params=[Astropy, Pint, Unyt], ids=["astropy", "pint", "unyt"])
def library(request):
    return request.param()


@pytest.fixture
def q(library):
    return library.make


@pytest.fixture
def check(library):
    def check(quantity, unit, numbers, tolerance=0.0):
        kind = type(library.make(1.0 if np.ndim(numbers) == 0 else np.ones(1), "m"))
        assert isinstance(quantity, kind)
        value, own = library.split(quantity)
        assert own == library.split(library.make(1.0, unit))[1]
        assert np.asarray(value).dtype == np.float32
        assert np.allclose(value, numbers, rtol=tolerance, atol=0)

    return check


def test_homogeneous_functions_keep_the_unit(q, check):
    for unit in ("m", "percent"):
        x = q(X, unit)
        check(relu(x), unit, [0, 2])
        check(leaky_relu(x, negative_slope=0.5), unit, [-0.5, 2])
        check(leaky_relu(x, negative_slope=q(np.array(50.0), "percent")), unit, [-0.5, 2])
        check(prelu(x, np.array([0.25, 0.5], "f4")), unit, [-0.25, 2])
        y, d = leaky_relu.value_and_derivative(x, negative_slope=0.5)
        check(y, unit, [-0.5, 2])
        check(d, "", [0.5, 1])
        check(relu.derivative(x), "", [0, 1])
    check(relu(q(np.float32(-2), "m")), "m", 0)


def test_a_gradient_has_the_unit_of_dy(q, check):
    x, dy = q(X, "m"), q(np.array([3, 5], "f4"), "J")
    check(relu.backward(dy, x), "J", [0, 5])
    check(relu.backward(dy, y=x), "J", [0, 5])
    check(relu.backward(dy, X), "J", [0, 5])
    check(relu.backward(np.array([3, 5], "f4"), x), "", [0, 5])
    check(relu.vjp(x)[1](dy), "J", [0, 5])
    dx, dslope = prelu.backward(dy, x, 0.5)
    check(dx, "J", [1.5, 5])
    check(dslope, "J*m", -3)
    s = [1 / (1 + math.exp(0.01)), 1 / (1 + math.exp(-0.02))]
    check(sigmoid.backward(dy, q(X, "percent")), "J", [3 * s[0] * (1 - s[0]), 5 * s[1] * (1 - s[1])], 1e-6)
    row = [1 / (1 + math.exp(3)), 1 / (1 + math.exp(-3))]
    mean = 3 * row[0] + 5 * row[1]
    check(softmax.backward(dy, X), "J", [row[0] * (3 - mean), row[1] * (5 - mean)], 1e-5)


def test_other_functions_take_dimensionless_numbers_percents_as_hundredths(q, check):
    percents = q(np.array([-100, 200], "f4"), "percent")
    check(elu(percents), "", [math.expm1(-1), 2], 1e-6)
    check(elu(percents, alpha=q(np.array(200.0), "percent")), "", [2 * math.expm1(-1), 2], 1e-6)
    check(sigmoid(q(X, "m/mm")), "", [0, 1], 1e-6)
    check(softmax(percents), "", [1 / (1 + math.exp(3)), 1 / (1 + math.exp(-3))], 1e-6)
    check(glu(q(X, "m"), percents), "m", [-1 / (1 + math.e), 2 / (1 + math.exp(-2))], 1e-6)
    for call, name in (
        (elu, "x"), (softmax, "x"), (softplus, "x"), (lambda x: glu(X, x), "gate"),
        (lambda x: softmax.backward(X, y=x), "y"), (lambda x: leaky_relu(X, negative_slope=x), "negative_slope"),
        (lambda x: sigmoid.backward(X, x), "x"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=rf"{name} has unit \w+, and .*: use \({name} / scale\)\.to"):
            call(q(X, "m"))


def test_the_advice_that_is_given_works(library, q):
    x = q(X, "m")
    with pytest.raises(TypeError) as raised:
        elu(x)
    advice = str(raised.value).rpartition("use ")[2]
    assert np.allclose(eval(advice, {"x": x, "scale": q(2.0, "m")}), X / 2)


def test_parameters_scale_with_x(q, check):
    x = q(X, "m")
    check(thresholded_relu(x, threshold=q(np.array(150.0), "cm")), "m", [0, 2])
    check(thresholded_relu(x, threshold=q(np.array(250.0), "cm")), "m", [0, 0])
    check(hard_tanh(x, min_value=q(np.array(0.0), "m"), max_value=q(np.array(50.0), "cm")), "m", [0, 0.5])
    check(celu(x, alpha=q(np.array(2.0), "m")), "m", [2 * math.expm1(-0.5), 2], 1e-6)
    for call, message in (
        (lambda: thresholded_relu(x), "x has unit .*, and threshold none; give all of them one"),
        (lambda: hard_tanh(x, max_value=q(np.array(1.0), "m")), "x has unit .*, and min_value none"),
        (lambda: thresholded_relu(x, threshold=q(np.array(1.0), "s")), "threshold has unit .*, and x has m"),
        (lambda: thresholded_relu(X, threshold=q(np.array(1.0), "s")), "threshold has unit .*, and x has none"),
        (lambda: leaky_relu(x, negative_slope=q(np.array(1.0), "m")), "takes a dimensionless negative_slope"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


def test_units_whose_zero_is_not_nothing_are_refused(library, q, check):
    # 5 degrees of frost are no 0 of anything: in kelvin the result would be another
    x = q(X, library.celsius)
    for call in (relu, relu.derivative, lambda x: relu.backward(x, X), lambda x: prelu(x, 0.5)):
        with pytest.raises(TypeError, match=r"(x|dy) has unit .*C.*, in which 0 does not mean none"):
            call(x)
    check(relu(q(X, "K")), "K", [0, 2])


def test_logarithmic_units_are_refused():
    units, pint = pytest.importorskip("astropy.units"), pytest.importorskip("pint")
    for x in (units.Magnitude(X), pint.UnitRegistry().Quantity(X, "dB")):
        for call in (relu, elu, softmax):
            with pytest.raises(TypeError, match=r"x has unit (mag|decibel), in which 0 does not mean none"):
                call(x)


def test_two_libraries_units_alone_masks_and_out_are_refused(library, q):
    x = q(X, "m")
    other = pytest.importorskip("pint" if isinstance(library, Unyt) else "unyt")
    y = other.UnitRegistry().Quantity(X, "m") if isinstance(library, Unyt) else other.unyt_array(X, "m")
    with pytest.raises(TypeError, match=r"dy has a unit of \w+ and x is a .*; convert one"):
        relu.backward(x, y)
    with pytest.raises(TypeError, match="it takes quantities and numbers"):
        relu(library.split(x)[1])
    with pytest.raises(TypeError, match="masks are for arrays of NumPy"):
        relu.with_mask(x)
    with pytest.raises(TypeError, match="out is for arrays of NumPy"):
        relu(x, out=np.empty(2, "f4"))
    with pytest.raises(TypeError, match="x has dtype complex"):
        relu(q(np.array([1j]), "m"))


def test_what_a_quantity_holds_stays_what_it_is(q):
    assert relu(q(np.array([-3, 3]), "m")).dtype.kind == "i"
    assert relu(q(np.array([[1.0], [-1.0]]), "m")).shape == (2, 1)


def test_quantities_within_other_containers():
    pint, xr = pytest.importorskip("pint"), pytest.importorskip("xarray")
    dask_array = pytest.importorskip("dask.array")
    registry = pint.UnitRegistry()
    y = relu(xr.DataArray(registry.Quantity(X, "m"), dims="a"))
    assert y.dims == ("a",)
    assert (y.data.units, y.data.magnitude.tolist()) == (registry.m, [0, 2])
    y = relu(registry.Quantity(dask_array.from_array(X, chunks=1), "m"))
    assert y.units == registry.m
    assert isinstance(y.magnitude, dask_array.Array)
    masked = pytest.importorskip("astropy.utils.masked").Masked
    units = pytest.importorskip("astropy.units")
    y = relu(masked(X * units.m, mask=[True, False]))
    assert y.unit == units.m
    assert y.mask.tolist() == [True, False]


def test_homogeneity_is_that_of_the_textbook_form():
    mpmath = pytest.importorskip("mpmath")
    found = set()
    for name in rectifier.__all__:
        block = getattr(getattr(rectifier, name), "spec", None)
        if not isinstance(block, Elementwise | Gated):
            continue
        names = block.uniform
        for count in range(len(names) + 1):
            for scaled in itertools.combinations(names, count):
                with mpmath.workdps(30):
                    expected = _textbook_is_homogeneous(block, scaled, mpmath.mpf)
                assert is_homogeneous(block, scaled) == expected, (name, scaled)
                if expected:
                    found.add((name, *scaled))
    assert {("relu",), ("leaky_relu",), ("prelu",), ("glu",), ("hard_tanh", "min_value", "max_value")} <= found
    assert not {"sigmoid", "tanh", "elu", "gelu", "softplus", "squared_relu"} & {name for name, *_ in found}


def _textbook_is_homogeneous(block, scaled, mpf):
    """Say whether f(4 x) = 4 f(x) to thirty digits, at numbers where functions of a scale differ."""
    gates = (0.5, 30.0) if isinstance(block, Gated) else (0.5,)  # within the limits of a gate, and beyond them
    for number, gate, x in itertools.product((1.0, 0.5, 3.0), gates, (-7.5, -1.25, -0.3, 0.2, 1.1, 6.5)):
        parameters = {name: mpf(number * (block.parameters.get(name) or gate)) for name in block.uniform}
        larger = {name: 4 * value if name in scaled else value for name, value in parameters.items()}
        y, of_larger = (
            Dual.of(block.exact(MPMATH, Dual(mpf(at), 1), *map(Dual, values))).number
            for at, values in ((x, parameters.values()), (4 * x, larger.values()))
        )
        if abs(of_larger - 4 * y) > mpf(10) ** -20:
            return False
    return True


@pytest.mark.parametrize("unit", ["", "percent"])
def test_integers_of_unyt_are_float64_in_functions_of_floats(unit):
    unyt = pytest.importorskip("unyt")  # which makes float32 of int32 when it converts
    numbers = np.array([-3, 1, 70], "i4")
    given = unyt.unyt_array(numbers, unit or "dimensionless")
    y = sigmoid(given)
    assert y.dtype == np.float64
    assert np.array_equal(y.d, sigmoid(numbers * 0.01 if unit else numbers))
    small = unyt.unyt_array(numbers.astype("i1"), unit or "dimensionless")
    assert sigmoid(small).dtype == (np.float64 if unit else sigmoid(numbers.astype("i1")).dtype)


@pytest.mark.parametrize("library", ["astropy", "unyt"])
def test_out_of_plain_numbers_is_no_quantity(library):
    if library == "astropy":
        out = pytest.importorskip("astropy.units").Quantity(np.full(3, 7.0))
    else:
        out = pytest.importorskip("unyt").unyt_array(np.full(3, 7.0), "m")
    x = np.ones(3)
    calls = {
        "relu": lambda: relu(x, out), "relu.with_mask": lambda: relu.with_mask(x, out),
        "softmax": lambda: softmax(x, out),
        "relu.value_and_derivative": lambda: relu.value_and_derivative(x, (None, out)),
        "glu.backward": lambda: glu.backward(x, x, x[:1], (out, None)),
    }  # fmt: skip
    for name, call in calls.items():
        with pytest.raises(TypeError, match=rf"^{name}: out is a {library}.*; it takes a numpy.ndarray of shape"):
            call()
        assert (np.asarray(out) == 7).all()


def test_bools_with_a_unit_are_refused():
    unyt = pytest.importorskip("unyt")  # which makes float16 of them when it converts
    with pytest.raises(TypeError, match="softmax: x has dtype bool"):
        softmax(unyt.unyt_array(np.array([True, False]), "percent"))
