"""Inside a user's @njit: Numba finds the functions by itself, and they give the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import run_python

START = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
"""
CODE = """
import numpy as np
from numba import njit
import rectifier
from rectifier import {name} as function
from conftest import assert_same, numbers

@njit
def of_array(x):
    return function(x)

@njit
def of_numbers(x):
    for i in range(x.size):
        x[i] = function(x[i])
    return x

for dtype in ("f4", "f8"):
    x = numbers(200, np.dtype(dtype))
    assert_same(of_array(x.reshape(20, 10)[:, ::2]), function(x.reshape(20, 10)[:, ::2]))
    assert_same(of_numbers(x.copy()), function(x))
assert_same(of_array(np.arange(-3, 9)), function(np.arange(-3, 9)))
"""


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("hard_swish", "gelu", "softplus", "celu")]


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "silu", "mish", *SLOW])
def test_numba_finds_the_functions(name):
    run = run_python(START + CODE.format(name=name))
    assert run.returncode == 0, run.stderr


def test_parameters_are_keywords_there_too():
    run = run_python(
        "import numpy as np; from numba import njit; from rectifier import silu, leaky_relu\n"
        "f = njit(lambda x: silu(x, beta=2.0) + leaky_relu(x, negative_slope=0.5))\n"
        "x = np.float64(-0.7); assert f(x) == silu(x, beta=2.0) + leaky_relu(x, negative_slope=0.5)"
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
import numpy as np
from numba import njit
from numba.core.errors import TypingError
from conftest import assert_same
from rectifier import relu, relu6, silu, soft_shrink, thresholded_relu

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
    (lambda x: relu(x, x), np.ones(2), r"takes no out inside @njit"),
    (lambda x: relu("x"), np.ones(2), r"x is a unicode_type"),
):
    try:
        njit(call)(given)
    except TypingError as error:
        assert __import__("re").search(words, str(error)), (words, str(error))
    else:
        raise AssertionError(words)
"""


def test_dtypes_are_those_of_the_call_outside_or_refused_with_a_word():
    run = run_python(START + LIKE_OUTSIDE)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("call", ["swiglu(x, x)", "prelu(x, x)", "softmax(x)", "log_softmax(x, axis=0)"])
def test_what_numba_is_not_told_of_is_refused_by_name(call):
    name = call.partition("(")[0]
    run = run_python(
        f"import numpy as np; from numba import njit; from rectifier import {name}\nnjit(lambda x: {call})(np.ones(3))"
    )
    assert f"{name} cannot be called inside @njit, where functions of one array can: call it outside" in run.stderr


@pytest.mark.slow
def test_code_that_numba_keeps_or_shares_among_threads_is_the_same(tmp_path):
    file = tmp_path / "kept.py"
    file.write_text(
        "import numpy as np\nfrom numba import njit\nfrom rectifier import relu6, silu\n"
        "@njit(cache=True, parallel=True)\ndef f(x):\n    return relu6(x), silu(x)\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import numpy as np, kept\n"
        "y, z = kept.f(np.arange(9)); print(y.dtype, z.dtype, y.tolist(), sum(kept.f.stats.cache_hits.values()))"
    )
    runs = [run_python(code, NUMBA_CACHE_DIR=str(tmp_path / "cache")).stdout for _ in range(2)]
    assert runs == [f"int64 float64 [0, 1, 2, 3, 4, 5, 6, 6, 6] {hits}\n" for hits in (0, 1)]
