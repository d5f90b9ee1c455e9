"""Floats of eight bits and fewer, and quantised integers: every result against mpmath, or against rational numbers."""

from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction

import ml_dtypes
import mpmath
import numpy as np
import pytest

import rectifier
from conftest import BACKENDS, needs, run_python
from rectifier import gelu, leaky_relu, relu, sigmoid, softmax, swiglu
from rectifier.catalogue import CATALOGUE
from rectifier.engine.lookup import LOOK_UP, LOOK_UP_PAIR
from rectifier.formulas.mpmath import MPMATH, Dual

SLOW = (
    "float8_e3m4",
    "float4_e2m1fn",
    "float8_e4m3",
    "float8_e4m3b11fnuz",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float6_e2m3fn",
    "float6_e3m2fn",
)
DTYPES = ["float8_e4m3fn", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
BYTES = np.arange(256, dtype=np.uint8)
FLOAT8 = np.dtype(ml_dtypes.float8_e4m3fn)


def bits(array):
    return np.asarray(array).view(np.uint8)


def same(a, b):
    """Compare by bits, but for NaNs, of which a dtype may have several."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.itemsize > 1:
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
    both = np.isnan(a.astype(np.float32)) & np.isnan(b.astype(np.float32))
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.all(both | (bits(a) == bits(b))))


class Nearest:
    """Rounding of mpmath's numbers to a dtype, by its neighbours among all of the dtype's numbers."""

    def __init__(self, dtype):
        self.dtype = dtype
        numbers = {float(v): int(code) for code, v in zip(BYTES, BYTES.view(dtype).astype(np.float64), strict=True)
                   if np.isfinite(v)}  # fmt: skip
        self.values = sorted(numbers)
        self.is_odd = [numbers[value] & 1 for value in self.values]

    def __call__(self, exact):
        if not self.values[0] <= exact <= self.values[-1]:  # what is beyond the largest is ml_dtypes' to say
            with np.errstate(all="ignore"):
                return float(np.float32(float(exact)).astype(self.dtype))
        k = min(bisect_right(self.values, exact), len(self.values) - 1)
        with mpmath.workprec(600):
            below, above = exact - mpmath.mpf(self.values[k - 1]), mpmath.mpf(self.values[k]) - exact
        nearer_above = above < below or (above == below and self.is_odd[k - 1])
        return self.values[k] if nearer_above else self.values[k - 1]


def exactly(spec, x, parameters=None):
    """Return value and slope of the textbook form at a number."""
    parameters = spec.parameters if parameters is None else parameters
    with mpmath.workprec(400):
        x = Dual(x if isinstance(x, mpmath.mpf) else mpmath.mpf(float(x)), mpmath.mpf(1))
        return Dual.of(spec.exact(MPMATH, x, *map(mpmath.mpf, parameters.values())))


@pytest.mark.parametrize("name", DTYPES)
def test_all_values_and_derivatives_are_the_nearest(name):
    dtype = np.dtype(getattr(ml_dtypes, name))
    nearest, x, compared = Nearest(dtype), BYTES.view(dtype), 0
    finite = np.flatnonzero(np.isfinite(x.astype(np.float32)))
    for function in CATALOGUE.values():
        y, d = function(x, **function.spec.required), function.derivative(x, **function.spec.required)
        assert y.dtype == d.dtype == dtype
        kinks = {kink for kink, _ in function.spec.kinks}
        for k in finite:
            exact = exactly(function.spec, x[k])
            for what, actual, truth in (("value", y, exact.number), ("derivative", d, exact.slope)):
                if what == "derivative" and float(x[k]) in kinks:
                    continue
                expected = nearest(truth)
                assert float(actual[k]) == expected or (np.isnan(expected) and np.isnan(float(actual[k]))), (
                    f"{function.__name__}, {what} at {x[k]}: {actual[k]}, and not {expected}"
                )
                compared += 1
    assert compared > 400 * len(CATALOGUE) * len(finite) / 256


@pytest.mark.parametrize("function", [gelu, leaky_relu], ids=["gelu", "leaky_relu"])
def test_pairs_of_a_backward_call_are_the_nearest(function):
    nearest, x = Nearest(FLOAT8), BYTES.view(FLOAT8)
    dx = function.backward(x[None, :], x[:, None])
    slopes = [exactly(function.spec, value).slope if np.isfinite(float(value)) else None for value in x]
    kinks = dict(function.spec.kinks)
    for k, slope in enumerate(slopes):
        if slope is None:
            assert np.isnan(dx[k].astype(np.float32)[x.astype(np.float32) != 0]).all()
            continue
        slope = mpmath.mpf(kinks.get(float(x[k]), slope))
        for code in range(k % 5, 128, 5):  # those from 128 on are their negatives
            dy = float(x[code])
            if np.isfinite(dy):
                with mpmath.workprec(500):
                    exact = slope * mpmath.mpf(dy)
                np.testing.assert_equal(float(dx[k, code]) + 0.0, nearest(exact) + 0.0, f"at {x[k]} and {dy}")
        assert same(-dx[k, :128].astype(np.float32), dx[k, 128:].astype(np.float32))


def test_special_values_and_zeros_without_a_derivative():
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e3m4"):
        dtype = np.dtype(getattr(ml_dtypes, name))
        x = np.array([np.nan, -np.inf, np.inf, -0.0], np.float32).astype(dtype)
        for function in (relu, gelu, sigmoid):
            with np.errstate(all="ignore"):
                assert same(function(x), function(x.astype(np.float32)).astype(dtype))
    x, dy = np.array([-1, -1, 2], FLOAT8), np.array([np.nan, 3, np.nan], FLOAT8)
    assert relu.backward(dy, x).astype(np.float32)[:2].tolist() == [0, 0]  # it selects
    assert np.isnan(relu.backward(dy, x).astype(np.float32)[2])


X, DY = (np.random.default_rng(seed).standard_normal((40, 30)).astype(FLOAT8) for seed in (0, 1))


@pytest.mark.parametrize("package", BACKENDS.values(), ids=BACKENDS)
def test_every_call_gives_what_the_others_do(package):
    """Whatever the layout, the engine and the way."""
    f, g = package.gelu, package.relu
    for x, dy in ((X, DY), (X.T, DY.T), (X[::-1, ::3], DY[:, ::3]), (X[:0], DY[:0]), (X, DY[0]), (X[0], DY)):
        wide = np.broadcast_to(x, np.broadcast_shapes(x.shape, dy.shape))
        y, d = f.value_and_derivative(x)
        flat = f(np.ascontiguousarray(x).ravel()).reshape(x.shape)
        assert same(y, flat)
        assert same(y, f(x))
        assert same(d, f.derivative(x))
        dx = f.backward(dy, x)
        spread = np.broadcast_to(dy, wide.shape)
        expected = [f.backward(a.reshape(1), b.reshape(1))[0] for a, b in zip(spread.flat, wide.flat, strict=True)]
        assert same(dx.ravel(), np.array(expected, FLOAT8))
        assert same(f.vjp(x)[1](dy), dx)
    y, mask = g.with_mask(X)
    assert same(y, g(X))
    assert np.array_equal(np.unpackbits(mask.bits, count=X.size, bitorder="little"), X.ravel().astype("f4") > 0)
    expected = g.backward(DY, X)
    for dx in (g.backward(DY, mask=mask), g.backward(DY, y=y), g.vjp(X)[1](DY), g.backward(DY.astype("f4"), X)):
        assert same(np.asarray(dx).astype(FLOAT8), expected)
    assert same(BACKENDS["llvm"].gelu.backward(DY, X), f.backward(DY, X))


@pytest.mark.parametrize("package", BACKENDS.values(), ids=BACKENDS)
def test_results_are_written_where_asked_as_of_a_copy(package):
    f, expected = package.gelu, gelu(X)
    for _ in range(2):  # the second time the call is a repeated one
        out = np.empty_like(X)
        assert f(X, out) is out
        assert same(out, expected)
        inside = X.copy()
        assert f(inside, inside) is inside
        assert same(inside, expected)
        shifted = X.ravel().copy()
        f(shifted[:-1], shifted[1:])
        assert same(shifted[1:], expected.ravel()[:-1])
        dy = DY.copy()
        assert f.backward(dy, X, dy) is dy
        assert same(dy, gelu.backward(DY, X))
        x, other = X.copy(), np.empty_like(X)
        f.value_and_derivative(x, (x, other))
        assert same(x, expected)
        assert same(other, gelu.derivative(X))


def test_no_dimension_and_numbers_are_as_in_numpy():
    assert type(gelu(X[0, 0])) is FLOAT8.type
    for _ in range(2):  # also of a call that is kept
        none = np.array(X[0, 0])
        assert np.shape(gelu(none)) == np.shape(gelu.backward(none, none)) == ()
        assert gelu(none).dtype == FLOAT8
    assert same(gelu.backward(1.0, X), gelu.derivative(X))
    assert gelu.backward(DY.astype(np.float32), X).dtype == np.float32
    assert same(gelu.backward(DY.astype(np.float64), X), gelu.backward(DY.astype("f8"), X.astype("f8")))


def test_parameters_are_numbers_as_they_were_given():
    x = BYTES.view(FLOAT8)
    nearest = Nearest(FLOAT8)
    for slope in (0.01, np.float32(0.3), np.array(0.7)):  # 0.01 would be 0.0098 in this dtype
        for _ in range(2):
            y = leaky_relu(x, negative_slope=slope)
        with mpmath.workprec(200):
            expected = [nearest(mpmath.mpf(float(v)) * mpmath.mpf(float(slope))) for v in x[128:254]]
        assert y[128:254].astype(np.float64).tolist() == expected
    # 17/16 x is half-way for odd x, and this is above it by less than float64 has room for.
    slope = 17 / 16 * (1 + 2.0**-52)
    with mpmath.workprec(200):
        exact = [mpmath.mpf(float(v)) * mpmath.mpf(slope) for v in x[128:240]]
        assert leaky_relu(x, negative_slope=slope)[128:240].astype("f8").tolist() == list(map(nearest, exact))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: leaky_relu(X, negative_slope=np.ones(30)), TypeError, r"leaky_relu: negative_slope is an array of "),
        (lambda: gelu.backward(DY.astype(ml_dtypes.float8_e5m2), X), TypeError, r"gelu.backward: dy is float8_e5m2,"),
        (lambda: gelu.backward(DY.astype(complex), X), TypeError, r"gelu.backward: dy is complex128, x is float8_e4"),
        (lambda: gelu.backward(DY[:3], X), ValueError, r"gelu.backward: shapes do not broadcast: dy \(3, 30\), x \("),
        (lambda: relu.backward(DY[:3], mask=relu.with_mask(X)[1]), ValueError, r"relu.backward: dy has shape \(3, 3"),
        (lambda: gelu(X, np.empty((40, 30))), TypeError, r"gelu: out has dtype float64; the result has float8_e4m3f"),
        (lambda: gelu(X, np.empty((4, 30), FLOAT8)), ValueError, r"gelu: out has shape \(4, 30\); the result has \("),
        (lambda: gelu(np.ma.array(X)), TypeError, r"gelu: x is a masked array of float8_e4m3fn, and a table hides n"),
        (lambda: softmax(X), TypeError, r"softmax: x has dtype float8_e4m3fn; it takes .* use x.astype\(np"),
        (lambda: swiglu(X, X), TypeError, r"swiglu: x has dtype float8_e4m3fn; it takes"),
        (lambda: gelu(np.ones(3, np.float32).astype(ml_dtypes.float8_e8m0fnu)), TypeError, r"gelu: x has dtype floa"),
    ],
)  # fmt: skip
def test_what_no_table_can_be_made_of_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


# The same functions in rational numbers, which are truth where two integers are equally near.
RATIONAL = {
    "relu": lambda x: max(x, Fraction(0)),
    "leaky_relu": lambda x: x if x > 0 else Fraction(0.01) * x,
    "hard_shrink": lambda x: x if abs(x) > Fraction(1, 2) else Fraction(0),
    "hard_sigmoid": lambda x: min(max((x + 3) / 6, Fraction(0)), Fraction(1)),
    "hard_swish": lambda x: x * min(max((x + 3) / 6, Fraction(0)), Fraction(1)),
    "softsign": lambda x: x / (1 + abs(x)),
    "squared_relu": lambda x: max(x, Fraction(0)) ** 2,
}
SCALES = [
    (0.1, 0.2),
    (0.5, 1.0),
    (1 / 3, 1 / 7),
    (0.7, 1.4),
    (1e-3, 2e-5),
    (0.05, 1 / 9),
    (0.1, 0.1),
    (2.0, 1 / 3),
    (1, 4),
]


def fraction(y):
    man, exponent = mpmath.mpf(y).man_exp
    return (-1 if y < 0 else 1) * abs(man) * Fraction(2) ** exponent


def saturated(number, out_scale, point, dtype):
    limits = np.iinfo(dtype)
    return min(max(round(number / Fraction(out_scale)) + point, limits.min), limits.max)


@pytest.mark.parametrize("dtype", [pytest.param(np.dtype(name), id=name) for name in ("int8", "uint8")])
@pytest.mark.parametrize("name", RATIONAL)
def test_all_quantised_results_are_right_in_rational_numbers(name, dtype):
    function, q = getattr(rectifier, name), BYTES.view(dtype)
    halves = 0
    for k, (scale, out_scale) in enumerate(SCALES):
        point, out_point = (int(q[n]) for n in (17 * k, 250 - 31 * k))
        exact = [RATIONAL[name](Fraction(scale) * (int(one) - point)) for one in q]
        halves += sum((number / Fraction(out_scale)).denominator == 2 for number in exact)
        actual = function.quantized(q, scale=scale, zero_point=point, out_scale=out_scale, out_zero_point=out_point)
        assert actual.dtype == dtype
        assert actual.tolist() == [saturated(number, out_scale, out_point, dtype) for number in exact]
    assert halves > (50 if name in ("relu", "hard_shrink") else -1)


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in RATIONAL])
def test_all_quantised_results_are_right_in_mpmath(name):
    function, dtype = CATALOGUE[name], np.dtype(np.int8)
    q, k = BYTES.view(dtype), list(CATALOGUE).index(name)
    for scale, out_scale in (SCALES[k % len(SCALES)], (0.04, 0.02)):
        how = {"scale": scale, "zero_point": 3, "out_scale": out_scale, "out_zero_point": -20}
        actual = function.quantized(q, **how)
        with mpmath.workprec(200):
            exact = [exactly(function.spec, mpmath.mpf(scale) * (int(one) - 3)).number for one in q]
            close = [abs(abs(y / out_scale - mpmath.nint(y / out_scale)) - 0.5) < 1e-9 for y in exact]
            expected = [saturated(fraction(y), out_scale, -20, dtype) for y in exact]
        wrong = [(q[k], actual[k], expected[k]) for k in range(256) if actual[k] != expected[k] and not close[k]]
        assert not wrong
        assert sum(close) < 128


def test_parameters_of_quantised_functions_and_their_repetition():
    q = BYTES.view(np.int8)
    how = {"scale": 0.1, "zero_point": np.int8(3), "out_scale": np.float32(0.2), "out_zero_point": 5.0}
    for slope in (0.25, 0.5, 0.25):
        expected = [
            saturated(x if x > 0 else Fraction(slope) * x, float(np.float32(0.2)), 5, np.int8)
            for x in (Fraction(0.1) * (int(one) - 3) for one in q)
        ]
        out = np.empty_like(q)
        assert leaky_relu.quantized(q, negative_slope=slope, out=out, **how) is out
        assert out.tolist() == expected
        assert leaky_relu.quantized(q[::-2], negative_slope=slope, **how).tolist() == expected[::-2]
        assert BACKENDS["numpy"].leaky_relu.quantized(q, negative_slope=slope, **how).tolist() == expected
    inside = q.copy()
    assert relu.quantized(inside, out=inside, **how) is inside
    assert relu.quantized(q[5], **how) == inside[5]
    assert np.shape(relu.quantized(np.array(q[5]), **how)) == ()


@pytest.mark.parametrize(("scale", "out_scale"), [(1e-300, 1e300), (1e300, 5e-324), (5e-324, 5e-324), (7e305, 7e305)])
def test_scales_of_any_size_are_taken_without_a_warning(scale, out_scale):
    q = BYTES.view(np.int8)
    how = {"scale": scale, "zero_point": -128, "out_scale": out_scale, "out_zero_point": -128}
    ratio = Fraction(scale) / Fraction(out_scale)
    expected = [min(round((int(one) + 128) * ratio) - 128, 127) for one in q]
    assert relu.quantized(q, **how).tolist() == expected
    if scale > 1:  # where gelu, too, is x
        assert gelu.quantized(q, **how).tolist() == expected


HOW = {"scale": 0.1, "zero_point": 3, "out_scale": 0.2, "out_zero_point": 5}


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"scale": -0.1}, ValueError, "scale is -0.1; it takes a positive number"),
        ({"scale": 0}, ValueError, "scale is 0; it takes"),
        ({"out_scale": float("nan")}, ValueError, "out_scale is nan; it takes"),
        ({"out_scale": float("inf")}, ValueError, "out_scale is inf; it takes"),
        ({"scale": 1e307}, ValueError, "scale is 1e.307; it takes a positive number whose 255-fold is finite"),
        ({"scale": "0.1"}, TypeError, "scale is '0.1'; it takes one real number"),
        ({"scale": np.ones(2)}, TypeError, "scale is array.*; it takes one real number"),
        ({"scale": True}, TypeError, "scale is True; it takes one real number"),
        ({"zero_point": 256}, ValueError, "zero_point is 256; it takes an integer of uint8, 0 to 255"),
        ({"zero_point": -1}, ValueError, "zero_point is -1; it takes an integer of uint8, 0 to 255"),
        ({"out_zero_point": 1.5}, TypeError, "out_zero_point is 1.5; it takes one integer"),
        ({"out_zero_point": None}, TypeError, "out_zero_point is None; it takes one integer"),
        ({"negative_slope": float("nan")}, ValueError, "leaky_relu is NaN at -0.3 with these parameters"),
        ({"negative_slope": np.ones(3)}, TypeError, "negative_slope is an array of shape .3,.; with uint8 arrays"),
        ({"q": BYTES.astype(np.int16)}, TypeError, "q has dtype int16; it takes arrays of int8 and uint8"),
        ({"q": BYTES.view(FLOAT8)}, TypeError, "q has dtype float8_e4m3fn; it takes arrays of int8 and uint8"),
        ({"q": [1, 2]}, TypeError, "q is a list; it takes arrays of int8 and uint8"),
        ({"q": np.ma.array(BYTES)}, TypeError, "q is a masked array, and a table hides nothing"),
        ({"out": np.zeros(256, np.int8)}, TypeError, "out has dtype int8; the result has uint8"),
        ({"out": np.zeros(255, np.uint8)}, ValueError, r"out has shape \(255,\); the result has \(256,\)"),
    ],
)
def test_bad_quantities_are_refused_before_anything_is_written(changed, error, text):
    out = np.zeros(256, np.uint8)
    arguments = {"q": BYTES, "out": out, **HOW, **changed}
    leaky_relu.quantized(BYTES, **HOW)  # what is kept of a good call does not let a bad one through
    with pytest.raises(error, match=f"^leaky_relu(.quantized: | is NaN){text.removeprefix('leaky_relu is NaN')}"):
        leaky_relu.quantized(**arguments)
    assert not arguments["out"].any()


def test_a_function_whose_parameter_has_the_name_of_a_quantity_has_no_quantised_call():
    from rectifier import elementwise

    @elementwise(exact=lambda m, x, scale: scale * x, special=(), ulp=0)
    def scaled(x, scale=2.0):
        return scale * x

    @scaled.derivative
    def scaled_derivative(x, scale):
        return scale + (x - x)

    assert not hasattr(scaled, "quantized")
    assert scaled(X, scale=0.5).dtype == FLOAT8


@needs("dask")
def test_dask_serves_them_chunk_by_chunk():
    import dask.array as da

    x, dy = (da.from_array(array, chunks=(16, 7)) for array in (X, DY))
    assert same(gelu(x).compute(), gelu(X))
    assert same(gelu.backward(dy, x).compute(), gelu.backward(DY, X))
    _, mask = relu.with_mask(x)
    assert same(relu.backward(dy, mask=mask).compute(), relu.backward(DY, X))
    q = da.from_array(bits(X), chunks=(16, 7))
    assert np.array_equal(gelu.quantized(q, **HOW).compute(), gelu.quantized(bits(X), **HOW))
    with pytest.raises(ValueError, match="scale is -1"):  # before there is a graph
        gelu.quantized(q, **{**HOW, "scale": -1.0})
    with pytest.raises(TypeError, match="x is float32, another array float8_e4m3fn"):
        gelu.backward(dy, x.astype(np.float32))
    with pytest.raises(TypeError, match="quantized: out is for arrays of NumPy"):
        gelu.quantized(q, out=bits(X).copy(), **HOW)


@needs("jax")
def test_other_libraries_are_refused_by_name():
    import jax.numpy as jnp

    with pytest.raises(TypeError, match=r"gelu.quantized takes arrays of NumPy and Dask, and q is a jaxlib"):
        gelu.quantized(jnp.ones(3, jnp.int8), **HOW)
    with pytest.raises(TypeError, match="gelu: x has dtype float8_e4m3fn; it takes"):
        gelu(jnp.ones(3, jnp.float8_e4m3fn))


@needs("cupy")
def test_a_device_is_refused_before_anything_is_computed(monkeypatch):
    import importlib

    stand_in = importlib.import_module("cupy_stand_in").install(monkeypatch, BACKENDS["numpy"])
    with pytest.raises(
        TypeError, match=r"gelu.quantized takes arrays of NumPy and Dask, and q is a .*convert to NumPy"
    ):
        gelu.quantized(stand_in.asarray(BYTES), **HOW)


LOOK_UPS = """
import numpy as np
from rectifier.engine.lookup import LOOK_UP, LOOK_UP_PAIR
random = np.random.default_rng(0)
table, pairs = random.integers(0, 256, 256, np.uint8), random.integers(0, 256, 65536, np.uint8)
x, dy = random.integers(0, 256, (2, 200_000), np.uint8)
for n in (*range(300), 200_000):
    for start in (0, 3):
        a, b = x[start:n], dy[start:n]
        out = np.zeros(len(a) + 2, np.uint8)
        LOOK_UP(table, a, out=out[1:-1])
        assert np.array_equal(out[1:-1], table[a]) and not out[0] and not out[-1]
        out = b.copy()
        LOOK_UP_PAIR(pairs, out, a, out=out)
        assert np.array_equal(out, pairs[b + 256 * a.astype(int)])
assert LOOK_UP.compiled and LOOK_UP_PAIR.compiled
"""


@pytest.mark.parametrize("level", ["native", "x86-64-v2"])
def test_look_ups_of_any_length(level):
    from rectifier.engine.compiler.target import host

    if level != "native" and host().architecture != "x86_64":
        pytest.skip("a level of x86-64")
    run = run_python(LOOK_UPS, RECTIFIER_CPU=level)
    assert run.returncode == 0, run.stderr


def test_bytes_are_permuted_where_there_are_instructions():
    from rectifier.engine.compiler import lookup
    from rectifier.engine.compiler.target import of_level

    plain = of_level("x86_64-unknown-linux-gnu", "x86-64-v4")
    able = plain._replace(processor="znver5", features=plain.features + ",+avx512vbmi")
    code = {kind: kind.machine().emit_assembly(lookup.compile_kernel(1, kind).module) for kind in (plain, able)}
    assert "vpermi2b" in code[able] or "vpermt2b" in code[able]
    assert "vpermi2b" not in code[plain]
    assert "vpermt2b" not in code[plain]


def test_tables_are_made_once():
    from rectifier.functions import tables

    LOOK_UP.prepare(LOOK_UP._install), LOOK_UP_PAIR.prepare(LOOK_UP_PAIR._install)
    before = tables.of_one.cache_info().misses
    for _ in range(3):
        sigmoid(X), sigmoid(X[:3])
    assert tables.of_one.cache_info().misses <= before + 1
    assert not tables.of_one(sigmoid.spec, sigmoid.spec.operations["value"], FLOAT8, ()).flags.writeable
