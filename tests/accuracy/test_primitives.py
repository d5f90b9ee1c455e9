"""The smooth words, each by itself, and the polynomials that they are made of, against mpmath."""

from __future__ import annotations

import ctypes

import mpmath
import numpy as np
import pytest
from llvmlite import ir
from mpmath import mpf

from rectifier.engine import store
from rectifier.engine.compiler import kernels, target
from rectifier.engine.compiler.instructions import Module
from rectifier.engine.compiler.optimise import PREFIX, object_of, optimise
from rectifier.engine.compiler.storage import Storage
from rectifier.engine.compiler.strips import Array, Strips
from rectifier.formulas import PRIMITIVES, polynomials
from rectifier.formulas.llvm import Trace
from rectifier.testing import ulp_distance

F8 = np.dtype("f8")
EXACT = {
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log1p": mpmath.log1p,
    "erfcx": lambda x: mpmath.exp(x * x) * mpmath.erfc(x),
    "exp_parts": mpmath.exp,
}
ARITHMETIC = {"T", "stored", "where", "abs", "copysign", "sqrt", "fma"}


def compiled(name: str, narrow: bool):
    """Compile a word over arrays, as many as it takes numbers; a word with two results gives two arrays."""
    count, results = COUNTS[name], 2 if name in ("exp_parts", "erfcx") else 1
    machine, number = target.host(), Storage("float64", "float64")
    module = Module(machine)
    function = ir.Function(module, kernels.SIGNATURE, PREFIX + name)
    pointers, n, _ = function.args
    b = ir.IRBuilder(function.append_basic_block())
    doubles = number.type.as_pointer()
    arrays = [
        Array(number, b.bitcast(b.load(b.gep(pointers, [ir.IntType(64)(k)])), doubles)) for k in range(count + results)
    ]

    def evaluate(loaded):
        trace = Trace(b, 8, "float64", narrow)
        found = trace.primitives()[name](*map(trace.input, loaded))
        found = found if isinstance(found, tuple) else (found,)  # some give 0 or 1 for what they do not compute
        return [trace.literal(x).value if isinstance(x, float) else x.value for x in found]

    Strips(b, 8, 8, arrays[:count], arrays[count:], n, evaluate).emit()
    b.ret_void()
    code = store._load(object_of(optimise(module, (name,), machine).module, machine), {PREFIX + name})[name]

    def sweep(*inputs):
        outputs = [np.empty_like(inputs[0]) for _ in range(results)]
        every = [np.ascontiguousarray(x) for x in (*inputs, *outputs)]
        addresses = (ctypes.c_void_p * len(every))(*[x.ctypes.data for x in every])
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(code)(addresses, inputs[0].size, 0)
        return tuple(outputs) if results > 1 else outputs[0]

    return sweep


COUNTS = {"whole": 2, "quotient": 4, "exp": 2, "exp_parts": 2, "expm1": 2, "log1p": 1, "erfcx": 2}


@pytest.fixture(scope="module", params=["narrow", "wide"])
def reading(request):
    return request.param


@pytest.fixture(scope="module")
def words(reading):
    return {name: compiled(name, reading == "narrow") for name in COUNTS}


def test_every_word_is_arithmetic_or_tested_here():
    assert set(PRIMITIVES) == ARITHMETIC | set(COUNTS)


def spread(low: float, high: float, count: int = 2000) -> np.ndarray:
    """Take numbers over an interval, near 0 of every magnitude, and both ends."""
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [rng.uniform(low, high, count), np.exp(rng.uniform(-80, 0, count // 4)) * max(abs(low), abs(high))]
    )
    x = np.concatenate([x, -x, [low, high, np.nextafter(low, high), np.nextafter(high, low)]])
    return x[(x >= low) & (x <= high)]


# Where the results are normal numbers of float32, or of float64; that of log1p is all there is.
DOMAINS = {
    ("exp", "narrow"): (-87.3, 88.7),
    ("exp_parts", "narrow"): (-87.3, 88.7),
    ("expm1", "narrow"): (-100.0, 88.7),
    ("log1p", "narrow"): (-0.999999, 3e38),
    ("erfcx", "narrow"): (0.0, 10.7),
    ("exp", "wide"): (-708.3, 709.7),
    ("exp_parts", "wide"): (-1400.0, 709.7),
    ("expm1", "wide"): (-800.0, 709.7),
    ("log1p", "wide"): (-0.9999999999, 1.7e308),
    ("erfcx", "wide"): (0.0, 28.0),
}
# Units in the last place of a float64; of erfcx, with what it says that rounding took.
WIDE_BOUNDS = {"exp": 0.8, "expm1": 0.8, "exp_parts": 0.8, "log1p": 1.0, "erfcx": 1.0}
NARROW_BOUND = mpf(2) ** -27.5


def points(name: str, reading: str) -> np.ndarray:
    x = spread(*DOMAINS[name, reading])
    if name == "log1p":
        rng = np.random.default_rng(4)
        x = np.concatenate(
            [x, rng.uniform(-0.9, 3, 2000), np.exp(rng.uniform(-40, 40, 1000)), -rng.uniform(0.25, 0.35, 500)]
        )
    return x


@pytest.mark.parametrize("name", EXACT)
def test_a_word_has_its_bound(words, reading, name):
    x = points(name, reading)
    results = words[name](x) if name == "log1p" else words[name](x, np.zeros_like(x))
    worst = 0
    with mpmath.workdps(50):
        for v, *parts in zip(x.tolist(), *(results if isinstance(results, tuple) else (results,)), strict=True):
            exact = EXACT[name](mpf(v))
            actual = sum(map(mpf, parts))
            if name == "exp_parts":
                assert min(parts) >= 2.0**-1022
                actual = mpf(parts[0]) * mpf(parts[1])
            error = abs(actual - exact)
            if reading == "narrow":
                error, limit = error / abs(exact or 1), NARROW_BOUND
            else:
                error, limit = error / mpf(2) ** max(-1074, mpmath.frexp(exact)[1] - 53), WIDE_BOUNDS[name]
            if name == "exp_parts":
                error = min(error, abs(actual / exact - 1) * 2**53)  # it has no smallest number
            assert error <= limit, (
                f"{name}({v!r}) is {float(actual)!r}, off by {float(error)}, more than {float(limit)}"
            )
            worst = max(worst, error)
    assert worst > 0


@pytest.mark.parametrize("name", ["exp", "expm1", "exp_parts"])
def test_a_tail_is_added_to_the_argument(words, reading, name):
    """The wide words give it back, to the narrow ones it is nothing."""
    rng = np.random.default_rng(9)
    x = rng.uniform(-80, 80, 1500)
    tail = rng.uniform(-1, 1, 1500) * np.spacing(x) / 2
    given = words[name](x, tail)
    if reading == "narrow":
        for actual, expected in zip(np.atleast_2d(given), np.atleast_2d(words[name](x, 0 * x)), strict=True):
            assert np.array_equal(actual, expected)
        return
    with mpmath.workdps(50):
        for k in range(len(x)):
            exact = EXACT[name](mpf(x[k]) + mpf(tail[k]))
            actual = given[0][k] * given[1][k] if name == "exp_parts" else given[k]
            assert ulp_distance(actual, exact, F8) <= 1


def test_erfcx_says_what_rounding_took(words, reading):
    """Beyond 1, the sum of both results is that of the sum of both arguments, within an eighth of a unit."""
    if reading == "narrow":
        pytest.skip("narrow results have no tail")
    rng = np.random.default_rng(9)
    x = np.concatenate([rng.uniform(0, 1, 500), rng.uniform(1, 28, 1000)])
    tail = rng.uniform(-1, 1, 1500) * np.spacing(x) / 2
    with mpmath.workdps(60):
        for z, rest, y, lost in zip(x.tolist(), tail.tolist(), *words["erfcx"](x, tail), strict=True):
            exact = EXACT["erfcx"](mpf(z) + mpf(rest))
            assert abs(mpf(y) + mpf(lost) - exact) <= exact * mpf(2) ** (-53 if z < 1 else -56), z


def test_whole_and_quotient(words, reading):
    rng = np.random.default_rng(9)
    x, y = rng.standard_normal(1000) * 10.0 ** rng.integers(-9, 9, 1000), rng.uniform(0.5, 1e6, 1000)
    x_tail, y_tail = (rng.uniform(-1, 1, 1000) * np.spacing(a) / 2 for a in (x, y))
    q, w = words["quotient"](x, x_tail, y, y_tail), words["whole"](x, x_tail * 40)
    if reading == "narrow":
        assert np.array_equal(q, x / y)
        assert np.array_equal(w, x)
        return
    assert np.array_equal(w, x + x_tail * 40)
    with mpmath.workdps(50):
        for k in range(1000):
            exact = (mpf(x[k]) + mpf(x_tail[k])) / (mpf(y[k]) + mpf(y_tail[k]))
            assert ulp_distance(q[k], exact, F8) <= 0.5001


def test_words_at_the_edges(words, reading):
    zeros, ones = np.zeros(1), np.ones(1)
    inf, nan = np.full(1, np.inf), np.full(1, np.nan)

    def at(name, x, tail=0.0):
        result = words[name](np.array([x])) if name == "log1p" else words[name](np.array([x]), np.array([tail]))
        return result[0].item() * result[1].item() if name == "exp_parts" else result.item()

    largest = 1e300 if reading == "narrow" else np.inf  # what float32 takes for infinity
    smallest = 1e-300 if reading == "narrow" else 0.0
    for name in ("exp", "exp_parts"):
        assert at(name, np.inf, np.nan if reading == "wide" else 0) >= largest
        assert 0 <= at(name, -np.inf, np.nan if reading == "wide" else 0) <= smallest
        assert at(name, 0.0) == 1 or (reading == "narrow" and abs(at(name, 0.0) - 1) < 2**-28)
    assert at("expm1", np.inf) >= largest
    assert at("expm1", -np.inf) == -1
    for name in ("exp", "exp_parts", "expm1", "log1p"):
        assert np.isnan(at(name, np.nan))
    for name in ("expm1", "log1p"):
        assert np.copysign(1, at(name, 0.0)) == 1
        assert at(name, 0.0) == 0
    assert np.signbit(at("expm1", -0.0))
    assert at("expm1", -0.0) == 0
    assert at("log1p", np.inf) == np.inf
    assert at("log1p", -1.0) == -np.inf
    assert np.isnan(at("log1p", -1.5))
    assert np.signbit(words["whole"](-zeros, zeros)[0])
    assert words["quotient"](-zeros, zeros, ones, zeros)[0] == 0
    assert np.signbit(words["quotient"](-zeros, zeros, ones, zeros)[0])
    assert words["quotient"](inf, zeros, ones, zeros)[0] == np.inf
    assert np.isnan(words["quotient"](nan, zeros, ones, zeros)[0])


def test_subnormal_results_of_the_wide_words(words, reading):
    if reading == "narrow":
        pytest.skip("results of the narrow words are rounded to float32, and not subnormal before")
    x = np.random.default_rng(2).uniform(-745.2, -708.3, 1000)
    with mpmath.workdps(50):
        for v, y in zip(x.tolist(), words["exp"](x, 0 * x).tolist(), strict=True):
            assert ulp_distance(y, mpmath.exp(mpf(v)), F8) <= 0.8


# Polynomials ---------------------------------------------------------------------------------------------------------

HALF_LN2 = float(mpmath.log(2) / 2)
ROOT = float(mpmath.sqrt(2))
POLYNOMIALS = {  # what they stand for, the interval, the logarithm of the error, absolute or relative
    "EXP_NARROW": (lambda r: 2**r, -0.5, 0.5, -28),
    "EXPM1_NARROW": (lambda r: mpmath.expm1(r * mpmath.log(2)) / r, -0.5, 0.5, -31),
    "LOG1P_NARROW": (lambda x: mpmath.log1p(x) / x, 1 / ROOT - 1, ROOT - 1, -30),
    "ERFCX_NARROW": (
        lambda u: EXACT["erfcx"](1 / u - mpf("3.25")) / (2 * u), 1 / (10.7 + 3.25), 1 / 3.25, -29,
    ),
    "EXP": (lambda r: (mpmath.expm1(r) - r - r * r / 2) / r**3, -HALF_LN2, HALF_LN2, -55.5),
    "LOG": (
        lambda z: (2 * mpmath.atanh(mpmath.sqrt(z)) / mpmath.sqrt(z) - 2) / z,
        1e-9, ((ROOT - 1) / (ROOT + 1)) ** 2, -54,
    ),
    "ERFCX": (
        lambda t: (1 + 8 * (1 + t) / (1 - t)) * EXACT["erfcx"](4 * (1 + t) / (1 - t)), -1.0, 24 / 32, -55.8,
    ),
}  # fmt: skip


def value_of(name: str, x):
    total = mpf(0)
    for coefficient in reversed(getattr(polynomials, name)):
        total = total * x + mpf(coefficient)
    return total + (mpf(polynomials.ERFCX_TAIL) if name == "ERFCX" else 0)


def test_every_polynomial_is_tested():
    assert {name for name, value in vars(polynomials).items() if isinstance(value, tuple)} == set(POLYNOMIALS)


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_a_polynomial_is_as_near_as_it_says(name):
    function, low, high, error = POLYNOMIALS[name]
    with mpmath.workdps(60):
        absolute, relative = mpf(0), mpf(0)
        for k in range(500):
            x = (mpf(low) + high) / 2 + (mpf(high) - low) / 2 * mpmath.cos(mpmath.pi * (k + mpf("0.3")) / 500)
            exact = function(x)
            absolute = max(absolute, abs(value_of(name, x) - exact))
            relative = max(relative, abs(value_of(name, x) / exact - 1))
        assert min(absolute, relative) <= mpf(2) ** error


def exponent(x) -> mpmath.mpf:
    """Give the part of an exponent to the base 2 that the polynomial takes."""
    t = x / mpmath.log(2)
    return t - mpmath.nint(t)


@pytest.mark.parametrize(
    ("name", "argument"),
    [("EXP_NARROW", r) for r in (0.1555655, 0.2238190, 0.2796854)] + [("ERFCX_NARROW", 1 / (0.5315969 + 3.25))],
)
def test_a_polynomial_is_exact_where_a_derivative_is_zero(name, argument):
    """Where just: the digits of the comment are enough for 2^-50, since the error grows slowly there."""
    function = POLYNOMIALS[name][0]
    with mpmath.workdps(60):
        assert abs(value_of(name, mpf(argument)) / function(mpf(argument)) - 1) <= mpf(2) ** -50


def test_the_exact_places_are_those_of_the_zeros():
    from rectifier.catalogue import CATALOGUE

    with mpmath.workdps(30):
        places = {
            "silu": exponent(mpf(CATALOGUE["silu"].spec.zeros[0])),
            "mish": exponent(mpf(CATALOGUE["mish"].spec.zeros[0])),
            "quick_gelu": exponent(mpf("1.702") * mpf(CATALOGUE["quick_gelu"].spec.zeros[0])),
        }
        x = mpf(CATALOGUE["gelu_tanh"].spec.zeros[0])
        places["gelu_tanh"] = exponent(2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpf("0.044715") * x**3))
        known = (0.1555655, 0.2238190, 0.2796854)
        for name, r in places.items():
            assert min(abs(r - k) for k in known) < 1e-6, (name, r)
        assert abs(-mpf(CATALOGUE["gelu"].spec.zeros[0]) / mpmath.sqrt(2) - mpf("0.5315969")) < 1e-6
