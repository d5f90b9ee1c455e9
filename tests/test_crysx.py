"""The recipe's names are drop-ins for those of crysx_nn."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import assert_same, numbers
from rectifier import crysx, relu


@pytest.mark.parametrize("name", ["f2", "f4", "f8", "i4", "i8"])
def test_batches_of_any_dtype(name):
    x = numbers(12, np.dtype(name)).reshape(3, 4)
    assert_same(crysx.ReLU(x), relu(x))
    assert_same(crysx.ReLU_grad(x), relu.derivative(x))


def test_finite_values_are_those_of_the_recipe():
    x = np.random.default_rng(0).standard_normal((50, 20), np.float32)
    assert np.array_equal(crysx.ReLU(x), np.maximum(0.0, x))
    assert np.array_equal(crysx.ReLU(x), x * (x > 0))
    assert np.array_equal(crysx.ReLU_grad(x), np.greater(x, 0.0).astype(np.float32))


def test_they_go_into_the_dictionaries_that_crysx_nn_looks_into():
    """Its network calls act_func_dict[name](a) forward, and multiplies dy by act_func_grad_dict[name](a) backward."""
    act_func_dict, act_func_grad_dict = {"ReLU": lambda x: x * (x > 0)}, {"ReLU": lambda x: np.greater(x, 0.0)}
    act_func_dict.update(ReLU=crysx.ReLU)
    act_func_grad_dict.update(ReLU=crysx.ReLU_grad)
    rng = np.random.default_rng(0)
    inputs, weights, dy = rng.standard_normal((8, 3)), rng.standard_normal((3, 5)), rng.standard_normal((8, 5))
    a = inputs @ weights
    assert np.array_equal(act_func_dict["ReLU"](a), np.maximum(a, 0))
    gradient = inputs.T @ (dy * act_func_grad_dict["ReLU"](a))
    assert np.allclose(gradient, inputs.T @ (dy * (a > 0)))
