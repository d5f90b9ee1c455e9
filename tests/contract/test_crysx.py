"""The names of crysx_nn: what they give, beside the originals where those are installed."""

from __future__ import annotations

import numpy as np
import pytest

import rectifier
from conftest import assert_same, numbers
from rectifier import crysx, relu


@pytest.mark.parametrize("name", ["f2", "f4", "f8", "i4", "i8"])
def test_batches_of_any_dtype(name):
    x = numbers(12, np.dtype(name)).reshape(3, 4)
    assert_same(crysx.ReLU(x), relu(x))
    assert_same(crysx.ReLU_grad(x), relu.derivative(x))


@pytest.mark.parametrize("name", ["Identity", "ReLU", "Sigmoid", "Softplus", "Tanh", "Tanh_offset"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_gradients_are_those_of_the_functions(name, kind):
    x = np.linspace(-4, 4, 24).reshape(4, 6)
    f, gradient = getattr(crysx, name), getattr(crysx, f"{name}_grad")
    h = 1e-6
    expected = (np.asarray(f(x + h)) - np.asarray(f(x - h))) / (2 * h)
    assert f(x.astype(kind)).dtype == gradient(x.astype(kind)).dtype == np.dtype(kind)
    np.testing.assert_allclose(gradient(x.astype(kind)), expected, rtol=2e-6 if kind == "f8" else 1e-5, atol=1e-7)


def test_the_jacobian_of_softmax_is_that_of_softmax():
    x = np.random.default_rng(0).standard_normal((3, 5))
    jacobian = crysx.Softmax_grad(x)
    assert jacobian.shape == (3, 5, 5)
    h = 1e-6
    for k in range(5):
        step = np.zeros(5)
        step[k] = h
        expected = (crysx.Softmax(x + step) - crysx.Softmax(x - step)) / (2 * h)
        np.testing.assert_allclose(jacobian[:, :, k], expected, atol=1e-9)
    dy = np.random.default_rng(1).standard_normal((3, 5))
    product = np.einsum("ij,ijk->ik", dy, jacobian)
    np.testing.assert_allclose(rectifier.softmax.backward(dy, x), product, atol=1e-14)


def test_they_replace_the_originals():
    utils = pytest.importorskip("crysx_nn.utils")
    x = np.random.default_rng(0).standard_normal((16, 10))
    for name, original in utils.act_func_dict.items():
        np.testing.assert_allclose(getattr(crysx, name)(x), original(x), rtol=1e-12, atol=1e-15)
        original, ours = utils.act_func_grad_dict[name], getattr(crysx, f"{name}_grad")
        np.testing.assert_allclose(ours(x), original(x), rtol=1e-9, atol=1e-15)
