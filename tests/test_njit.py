"""Inside a user's @njit: Numba finds the functions by itself, and they give the same bits."""

from __future__ import annotations

import pytest

from conftest import run_python

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
assert_same(of_array(np.arange(3)), function(np.arange(3.0)))
"""


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "hard_swish", "silu", "gelu", "softplus", "mish", "celu"])
def test_numba_finds_the_functions(name):
    run = run_python(CODE.format(name=name), PYTHONPATH="tests")
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
        "import rectifier._activation as a; print(len(a._pending) > 20, 'rectifier.cpu.kernels' in sys.modules)"
    )
    assert run.stdout.strip() == "True False", run.stderr
