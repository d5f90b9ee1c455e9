"""Inside a user's @njit: Numba finds the functions by itself, and they give the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the extra brings it")

from conftest import run_python
from rectifier.catalogue import CATALOGUE, GATES

START = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import numpy as np
from numba import njit
from numba.core.errors import TypingError
from conftest import assert_same, numbers
"""
ONE_ARRAY = """
from rectifier import {name} as function

@njit
def of_arrays(dy, x):
    return function(x), function.derivative(x), function.backward(dy, x)

@njit
def of_numbers(dy, x):
    d, dx = np.empty_like(x), np.empty_like(x)
    for i in range(x.size):
        d[i] = function.derivative(x[i])
        dx[i] = function.backward(dy[i], x[i])
        x[i] = function(x[i])
    return x, d, dx

for dtype in ("f4", "f8"):
    x = numbers(211, np.dtype(dtype))
    dy = np.roll(x, 7)
    right = function(x), function.derivative(x), function.backward(dy, x)
    for given in ((dy, x), (dy.reshape(1, -1, 1), x.reshape(1, -1, 1)), (np.repeat(dy, 2)[::2], x)):
        for actual, expected in zip(of_arrays(*given), right, strict=True):
            assert_same(actual.ravel(), expected)
    for actual, expected in zip(of_numbers(dy, x.copy()), right, strict=True):
        assert_same(actual, expected)
    for n in (0, 1, 5, 64):
        assert_same(of_arrays(dy[:n], x[:n])[0], right[0][:n])
"""
TWO_ARRAYS = """
from rectifier import {name} as function

@njit
def of_arrays(dy, x, gate):
    return function(x, gate), function.backward(dy, x, gate)

@njit
def of_numbers(dy, x, gate):
    y, dx, dgate = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    for i in range(x.size):
        y[i] = function(x[i], gate[i])
        dx[i], dgate[i] = function.backward(dy[i], x[i], gate[i])
    return y, (dx, dgate)

for dtype in ("f4", "f8"):
    x = numbers(211, np.dtype(dtype))
    dy, gate = np.roll(x, 7), np.roll(x, 20)
    y, both = function(x, gate), function.backward(dy, x, gate)
    for call in (of_arrays, of_numbers):
        value, gradients = call(dy, x, gate)
        assert_same(value, y)
        for actual, expected in zip(gradients, both, strict=True):
            assert_same(actual, expected)
"""
FAST = ("relu", "silu", "swiglu")
EVERY = [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in (*CATALOGUE, *GATES)]


@pytest.mark.parametrize("name", EVERY)
def test_numba_finds_the_functions(name):
    run = run_python(START + (TWO_ARRAYS if name in GATES else ONE_ARRAY).format(name=name))
    assert run.returncode == 0, run.stderr


def test_nan_stays_where_the_caller_is_compiled_with_fastmath():
    """The recipe's flags: Numba compiles what a function calls with the flags of that function, if nobody says more."""
    run = run_python(
        START + "from rectifier import relu\n"
        "@njit(fastmath=True)\n"
        "def of_array(x):\n"
        "    return relu(x), relu.derivative(x)\n"
        "@njit(fastmath=True)\n"
        "def of_numbers(x):\n"
        "    y = np.empty_like(x)\n"
        "    for i in range(x.size):\n"
        "        y[i] = relu(x[i])\n"
        "    return y\n"
        "x = np.array([np.nan, -1, -0.0, np.inf, 2], 'f4')\n"
        "y, d = of_array(x)\n"
        "assert_same(y, relu(x)); assert_same(d, relu.derivative(x)); assert_same(of_numbers(x), relu(x))"
    )
    assert run.returncode == 0, run.stderr


def test_parameters_are_keywords_there_too():
    run = run_python(
        START + "from rectifier import silu, leaky_relu\n"
        "f = njit(lambda x: silu(x, beta=2.0) + leaky_relu(x, negative_slope=0.5))\n"
        "x = np.float64(-0.7); assert f(x) == silu(x, beta=2.0) + leaky_relu(x, negative_slope=0.5)\n"
        "g = njit(lambda dy, x: leaky_relu.backward(dy, x, negative_slope=0.25))\n"
        "z = np.array([-2.0, 2.0]); assert g(z, z).tolist() == [-0.5, 2]"
    )
    assert run.returncode == 0, run.stderr


def test_numba_alone_does_not_load_what_nobody_asked_for():
    run = run_python(
        "import sys, numpy as np; from numba import njit; njit(lambda x: x + 1)(1)\n"
        "import rectifier.functions.define as a\n"
        "print(len(a._pending) > 20, 'rectifier.engine.compiler.kernels' in sys.modules)"
    )
    assert run.stdout.strip() == "True False", run.stderr


LIKE_OUTSIDE = r"""
from rectifier import prelu, relu, relu6, silu, soft_shrink, swiglu, thresholded_relu

def inside(call, x, *others):
    assert_same(njit(call)(x, *others), call(x, *others))

for name in ("int8", "uint16", "int32", "uint64"):
    x = np.array([np.iinfo(name).min, 0, 1, 2, 3, 5, 7, np.iinfo(name).max], name)
    inside(lambda x: relu(x), x)

x = np.array([-(2**53) - 1, -3, 3, 2**53 + 1])
inside(lambda x: relu6(x), x)                                      # defaults are known: integers stay
inside(lambda x: thresholded_relu(x, threshold=2), x)              # as literals are
inside(lambda x: thresholded_relu(x, threshold=2.5), x)
inside(lambda x, t: thresholded_relu(x, threshold=t), x, 2)        # int64 holds any int64
inside(lambda x: thresholded_relu(x, threshold=2), x.astype("u8"))
inside(lambda x: thresholded_relu(x, threshold=40000), x.astype("i2"))  # not held
inside(lambda x, t: silu(x, beta=t), np.linspace(-3, 3, 99, dtype="f4"), 0.1)  # rounded to the dtype of x
inside(lambda x, y: swiglu(x, y), np.linspace(-3, 3, 99, dtype="f4"), np.linspace(-3, 3, 99))  # promoted
inside(lambda x, y: relu.backward(x, y), np.arange(5.0), np.arange(-2, 3, dtype="f4"))

# A variable that may be no number of the dtype makes floats, whatever it is.
t = njit(lambda x, t: thresholded_relu(x, threshold=t))
assert_same(t(x, 2.0), np.array([0, 0, 3, 2.0**53]))
assert_same(t(np.arange(4, dtype="i2"), 2), np.array([0, 0, 0, 3], "f4"))

for x in (np.array(3, "i2"), np.uint8(200), 7):
    y = njit(lambda x: relu(x))(x)
    assert y == relu(x) and np.ndim(y) == 0 and not isinstance(y, np.ndarray)

for call, given, words in (
    (lambda x: relu(x), np.ones(2, "f2"), r"x is float16, .*x.astype\(np.float32\)"),
    (lambda x: relu(x), np.float16(1), r"x is float16"),
    (lambda x: silu(x), np.ones(2, "i1"), r"silu of int8 is float16 .*x.astype\(np.float32\)"),
    (lambda x: thresholded_relu(x, threshold=300), np.ones(2, "i1"), r"int8 is float16 with these parameters"),
    (lambda x: relu(x), np.ones(2, bool), r"x has dtype bool.*x.astype\(np.uint8\)"),
    (lambda x: relu(x), True, r"x has dtype bool"),
    (lambda x: relu(x), np.ones(2, "c8"), r"complex64.*x.real"),
    (lambda x: silu(x, beta=True), np.ones(2), r"beta (is True|has dtype bool)"),
    (lambda x: silu(x, beta=None), np.ones(2), r"beta is None"),
    (lambda x: silu(x, beta=np.float16(2)), np.ones(2), r"beta is float16"),
    (lambda x: silu(x, beta=x), np.ones(2), r"silu inside @njit: beta is array.*; it takes a number there"),
    (lambda x: relu(x, x), np.ones(2), r"takes no out inside @njit"),
    (lambda x: relu.derivative(x, x), np.ones(2), r"relu.derivative takes no out inside @njit"),
    (lambda x: relu.backward(x, y=x), np.ones(2), r"relu.backward takes no y inside @njit: pass x"),
    (lambda x: relu.backward(x), np.ones(2), r"relu.backward inside @njit needs x"),
    (lambda x: relu.backward(x, 1.0), np.ones(2), r"x is .*; it takes an array like the others"),
    (lambda x: prelu(x, 0.25), np.ones(2), r"slope is .*; it takes an array like the others"),
    (lambda x: relu.with_mask(x), np.ones(2), r"Unknown attribute 'with_mask'"),
    (lambda x: relu("x"), np.ones(2), r"x is a unicode_type"),
):
    try:
        njit(call)(given)
    except TypingError as error:
        assert __import__("re").search(words, str(error)), (words, str(error))
    else:
        raise AssertionError(words)

try:
    njit(lambda x, y: relu.backward(x, y))(np.ones(3), np.ones(4))
except ValueError as error:
    assert "relu.backward: x has another shape than dy; inside @njit they are alike" in str(error)
else:
    raise AssertionError
"""


def test_dtypes_are_those_of_the_call_outside_or_refused_with_a_word():
    run = run_python(START + LIKE_OUTSIDE)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("call", ["softmax(x)", "log_softmax(x, axis=0)"])
def test_what_numba_is_not_told_of_is_refused_by_name(call):
    name = call.partition("(")[0]
    run = run_python(
        f"import numpy as np; from numba import njit; from rectifier import {name}\nnjit(lambda x: {call})(np.ones(3))"
    )
    assert f"{name} cannot be called inside @njit, where functions of numbers can: call it outside" in run.stderr


@pytest.mark.slow
def test_code_that_numba_keeps_or_shares_among_threads_is_the_same(tmp_path):
    file = tmp_path / "kept.py"
    file.write_text(
        "import numpy as np\nfrom numba import njit, prange\nfrom rectifier import relu6, silu\n"
        "@njit(cache=True, parallel=True)\ndef f(x):\n"
        "    y = np.empty(x.size)\n"
        "    for i in prange(x.size):\n        y[i] = silu(x[i])\n"
        "    return relu6(x), silu(x), relu6.backward(x, x), y\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import numpy as np, kept\n"
        "y, z, dx, w = kept.f(np.arange(9)); assert (w == z).all()\n"
        "print(y.dtype, z.dtype, y.tolist(), dx.tolist(), sum(kept.f.stats.cache_hits.values()))"
    )
    runs = [run_python(code, NUMBA_CACHE_DIR=str(tmp_path / "cache")).stdout for _ in range(2)]
    results = "int64 float64 [0, 1, 2, 3, 4, 5, 6, 6, 6] [0, 1, 2, 3, 4, 5, 0, 0, 0]"
    assert runs == [f"{results} {hits}\n" for hits in (0, 1)]
