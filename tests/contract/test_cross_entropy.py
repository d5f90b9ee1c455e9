"""Softmax cross-entropy: losses and gradients right in rows of any size, and nothing written before all is checked."""

from __future__ import annotations

import functools
import inspect
import math
import pickle

import mpmath
import numpy as np
import pytest

from conftest import BACKENDS, FLOATS, assert_same, needs
from rectifier import settings, softmax_cross_entropy, testing
from rectifier.catalogue import LOSSES

each = pytest.mark.parametrize(
    "function", [pytest.param(package.softmax_cross_entropy, id=name) for name, package in BACKENDS.items()]
)
RNG = np.random.default_rng(0)
ROWS = {
    "one class": [3.0],
    "two": [0.0, -30.0],
    "sure": [40.0, 1.0, -5.0, 0.0],
    "huge": [1e4, 1e4 - 1, -1e4, 9e3],
    "equal": [7.0] * 33,
    "many": (np.round(RNG.standard_normal(300) * 64) / 8).tolist(),
    "longer than what waits on the stack": (np.round(RNG.standard_normal(2500) * 16) / 4).tolist(),
}

_exp = functools.cache(mpmath.exp)


def truth(row, target):
    """Compute the loss and the gradient of probabilities by their definitions; the class k has 1 at k."""
    with mpmath.workdps(60):
        x, t = [[mpmath.mpf(number) for number in numbers] for numbers in (row, target)]
        peak = max(x)
        e = [_exp(number - peak) for number in x]
        whole, weight = mpmath.fsum(e), mpmath.fsum(t)
        logarithm = mpmath.log(whole)
        loss = mpmath.fsum(b * ((peak - a) + logarithm) for a, b in zip(x, t, strict=True))
        return loss, [weight * a / whole - b for a, b in zip(e, t, strict=True)]


def bound_of(dtype):
    return {"float32": softmax_cross_entropy.spec.ulp[0], "float64": softmax_cross_entropy.spec.ulp[1]}.get(
        dtype.name, 0.5001
    )


@each
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_losses_and_gradients_of_classes_are_right(function, row, dtype_name):
    dtype = testing.dtype_of(dtype_name)
    x = np.array(ROWS[row]).astype(dtype)
    for k in {0, len(x) // 2, len(x) - 1}:
        exact, gradient = truth(x.tolist(), [float(k == j) for j in range(len(x))])
        loss, dx = function.value_and_gradient(x, k)
        assert loss.dtype == dx.dtype == dtype
        assert testing.ulp_distance(float(loss), exact, dtype) <= bound_of(dtype)
        for actual, true in zip(dx.tolist(), gradient, strict=True):
            assert testing.ulp_distance(actual, true, dtype) <= bound_of(dtype) or abs(true) < 2.0**-1000
        assert_same(function(x, k), loss)
        assert_same(function.backward(1, x, k), dx)


@each
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_losses_and_gradients_of_probabilities_are_right(function, row, dtype_name):
    dtype = testing.dtype_of(dtype_name)
    x, rng = np.array(ROWS[row]).astype(dtype), np.random.default_rng(1)
    t = np.where(rng.random(len(x)) < 0.5, 0, rng.random(len(x)) / len(x)).astype(dtype)
    exact, gradient = truth(x.tolist(), t.tolist())
    loss, dx = function.value_and_gradient(x, t)
    assert testing.ulp_distance(float(loss), exact, dtype) <= bound_of(dtype)
    for actual, true, own in zip(dx.tolist(), gradient, t.tolist(), strict=True):
        larger = max(own, float(true) + own)  # the two numbers of the difference
        unit = 1 / testing.ulp_distance(0.0, mpmath.mpf(larger), dtype) * larger if larger else 1
        assert abs(actual - true) <= bound_of(dtype) * unit or abs(true) < 2.0**-1000
    assert_same(function(x, t), loss)
    assert_same(function.backward(1, x, t), dx)


@each
def test_probabilities_of_one_class_are_that_class(function):
    x = RNG.standard_normal((5, 40)).astype("f4")
    classes = RNG.integers(0, 40, 5)
    losses, _ = function.value_and_gradient(x, classes)
    assert_same(function(x, np.eye(40, dtype="f4")[classes]), losses)
    x[:, 3] = -math.inf  # of which nothing is expected counts nothing
    assert np.isfinite(function(x, np.eye(40)[[0, 1, 2, 4, 5]])).all()
    assert (function(x, [3] * 5) == math.inf).all()


@each
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_any_axis_layout_and_dtype_of_the_target(function, kind):
    x = RNG.standard_normal((4, 5, 6)).astype("f4")
    dloss = RNG.standard_normal((4, 6)).astype("f4")
    t = RNG.integers(0, 5, (4, 6)) if kind == "classes" else RNG.random((4, 5, 6)).astype("f4")
    moved, goal = np.moveaxis(x, 1, -1).copy(), t if kind == "classes" else np.moveaxis(t, 1, -1).copy()
    losses, dx = function.value_and_gradient(moved, goal)
    expected, back = np.moveaxis(dx, -1, 1), np.moveaxis(function.backward(dloss, moved, goal), -1, 1)
    for index in np.ndindex(4, 6):  # each row has its own number
        one = function.backward(dloss[index], moved[index], goal[index])
        assert_same(np.moveaxis(back, 1, -1)[index], one)
        np.testing.assert_allclose(one, dloss[index] * dx[index], rtol=2e-7, atol=1e-7)
    kinds = ("i1", "u8", ">i4") if kind == "classes" else ("f8", ">f4")
    for array in (x, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], x.astype(">f4")):
        for target in (t, *(t.astype(name) for name in kinds), np.asfortranarray(t), t.tolist()):
            for axis in (1, -2):
                for one, own in zip(function.value_and_gradient(array, target, axis), (losses, expected), strict=True):
                    assert_same(one, own)
                assert_same(function(array, target, axis), losses)
                assert_same(function.backward(dloss, array, target, axis), back)
    assert_same(function.backward(dloss[:, :1], x, t, 1), function.backward(dloss[:, :1].repeat(6, 1), x, t, 1))
    assert_same(function.backward(2, x, t, 1), function.backward(np.full((4, 6), 2, "f4"), x, t, 1))


@each
def test_the_gradient_may_be_written_over_x(function):
    for n in (3, 70, 3000):
        x, t = RNG.standard_normal((7, n)).astype("f4"), RNG.integers(0, n, 7)
        losses, dx = function.value_and_gradient(x, t)
        own = x.copy()
        made = function.value_and_gradient(own, t, out=own)
        assert made[1] is own
        assert_same(made[0], losses)
        assert_same(own, dx)
        place, own = np.empty(7, "f4"), x.T.copy().T
        made = function.value_and_gradient(own, t, out=(place, own))
        assert made[0] is place
        assert made[1] is own
        assert_same(place, losses)
        assert_same(own, dx)
        own = x.copy()
        assert function.backward(np.ones(7, "f4"), own, t, out=own) is own
        assert_same(own, dx)
        p = RNG.random((7, n)).astype("f4")
        expected = function.backward(1, x, p)
        assert_same(function.backward(1, x, p.copy(), out=p), expected)
        memory = np.empty(7 * n + 5, "f4")
        inside, behind = memory[: 7 * n].reshape(7, n), memory[5:].reshape(7, n)
        inside[...] = x
        assert_same(function.backward(1, inside, t, out=behind), dx)


@each
def test_rows_without_a_limit_are_nan(function):
    x = np.array([[math.nan, 1, 2], [math.inf, 1, 2], [-math.inf] * 3, [-math.nan, 0, 0]])
    for target in ([0, 1, 2, 1], np.ones((4, 3))):
        losses, dx = function.value_and_gradient(x, target)
        assert np.isnan(losses).all()
        assert np.isnan(dx).all()


@each
def test_integers_empty_arrays_and_single_rows(function):
    assert function([[1, 2], [3, 4]], [0, 1]).dtype == np.float64
    assert function(np.ones((2, 2), "i1"), [0, 1]).dtype == np.float16
    losses, dx = function.value_and_gradient(np.empty((0, 3)), np.empty(0, int))
    assert (losses.shape, dx.shape) == ((0,), (0, 3))
    assert isinstance(function(np.ones(3), 1), np.float64)
    np.testing.assert_allclose(function(np.ones(3), np.int8(1)), math.log(3))


@pytest.mark.parametrize("shape", [(3000, 10), (300, 700), (6, 70_000)])
def test_neither_threads_nor_chunks_matter(shape):
    x, t = RNG.standard_normal(shape).astype("f4"), RNG.integers(0, shape[1], shape[0])
    before, results = settings.threads, []
    try:
        for threads in (1, 2):
            settings.threads = threads
            results.append((softmax_cross_entropy(x, t), *softmax_cross_entropy.value_and_gradient(x, t)))
    finally:
        settings.threads = before
    for one, two in zip(*results, strict=True):
        assert_same(one, two)
    one = softmax_cross_entropy.value_and_gradient(x[3], t[3])
    assert_same(results[0][1][3], one[0])
    assert_same(results[0][2][3], one[1])


@each
def test_what_is_wrong_is_refused_before_anything_is_written(function):
    x, t = np.ones((2, 3)), [0, 1]
    out = np.full((2, 3), 7.0)
    for arguments, error, message in (
        ((x, [0, 3]), ValueError, "target has class 3; x has 3 classes, 0 to 2"),
        ((x, [0, -1]), ValueError, "target has class -1"),
        ((x, [0.0, 1.0]), ValueError, r"target has shape \(2,\) and dtype float64.*; pass classes as integers"),
        ((x, [[0, 1, 0]] * 2), ValueError, r"target has shape \(2, 3\) and .*; pass probabilities as floats"),
        ((x, [0, 1, 2]), ValueError, r"target has shape \(3,\)"),
        ((x, [[0.5, 0.5]] * 2), ValueError, r"target has shape \(2, 2\)"),
        ((x, [[0.5, -0.5, 1]] * 2), ValueError, "target has -0.5; probabilities are finite and not negative"),
        ((x, [[0.5, math.nan, 1]] * 2), ValueError, "target has nan"),
        ((x, [[0.5, math.inf, 1]] * 2), ValueError, "target has inf"),
        ((x, [True, False]), TypeError, "target has dtype bool"),
        ((x, ["a", "b"]), TypeError, "target has dtype <U1"),
        ((x + 1j, t), TypeError, "x has dtype complex128"),
        ((x, t, 2), ValueError, "axis 2 is out of bounds"),
        ((x, t, (0, 1)), TypeError, r"axis is \(0, 1\); it takes an integer"),
        ((x, t, None), TypeError, "axis is None"),
        ((np.ones((2, 0)), t), ValueError, r"x has shape \(2, 0\), without a class along axis 1"),
        ((1.0, 0), ValueError, "axis -1 is out of bounds for an array of 0 dimensions"),
        ((np.ma.ones((2, 3)), t), TypeError, "x is a masked array"),
    ):  # fmt: skip
        with pytest.raises(error, match=f"^softmax_cross_entropy: {message}"):
            function(*arguments)
        with pytest.raises(error, match=rf"^softmax_cross_entropy.value_and_gradient: {message}"):
            function.value_and_gradient(*arguments, out=out)
        with pytest.raises(error, match=rf"^softmax_cross_entropy.backward: {message}"):
            function.backward(1.0, *arguments, out=out)
    single, beyond = x.astype("f4"), np.full((2, 3), 1e300)
    with pytest.raises(ValueError, match=r"target has 1e\+300, which float32 does not hold"):
        function.value_and_gradient(single, beyond, out=single)
    assert (single == 1).all()
    assert np.isfinite(function(x, beyond)).all()
    with pytest.raises(ValueError, match=r"dloss has shape \(3,\), which does not broadcast to \(2,\)"):
        function.backward(np.ones(3), x, t, out=out)
    for wrong in (np.ones((3, 2)), np.ones((2, 3), "f4"), (out, np.ones(3)), (np.ones(2), out, out), [1]):
        with pytest.raises((TypeError, ValueError), match="out"):
            function.value_and_gradient(x, t, out=wrong)
    assert (out == 7).all()


def test_signatures_documentation_and_pickles():
    assert list(LOSSES) == ["softmax_cross_entropy"]
    f = softmax_cross_entropy
    assert [*inspect.signature(f).parameters] == ["x", "target", "axis"]
    assert [*inspect.signature(f.value_and_gradient).parameters] == ["x", "target", "axis", "out"]
    assert [*inspect.signature(f.backward).parameters] == ["dloss", "x", "target", "axis", "out"]
    for method in (f, f.value_and_gradient, f.backward):
        assert "Examples\n--------" in method.__doc__
        assert pickle.loads(pickle.dumps(method)) is method


@needs("pandas")
def test_other_libraries_are_refused():
    import pandas as pd

    message = r"softmax_cross_entropy takes arrays of NumPy, Dask, JAX and PyTorch, and x is a pandas.*x.to_numpy"
    with pytest.raises(TypeError, match=message):
        softmax_cross_entropy(pd.DataFrame(np.ones((2, 3))), [0, 1])


@needs("torch")
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_pytorch_has_the_same_losses_and_differentiates_them(kind):
    import torch

    x, dloss = torch.randn(3, 9, 4) * 3, torch.randn(3, 4)
    t = torch.randint(0, 9, (3, 4)) if kind == "classes" else torch.rand(3, 9, 4)
    losses, dx = softmax_cross_entropy.value_and_gradient(x, t, 1)
    torch.testing.assert_close(torch.nn.functional.cross_entropy(x, t, reduction="none"), losses)
    back = softmax_cross_entropy.backward(dloss, x, t, 1)
    own = x.clone().requires_grad_()
    y = softmax_cross_entropy(own, t, 1)
    torch.testing.assert_close(y, losses)
    (y * dloss).sum().backward()
    torch.testing.assert_close(own.grad, back)
    if kind == "classes":  # an integer of one byte is no probability, though as x it becomes float32
        for integer in (torch.int8, torch.uint8, torch.int32):
            for one, other in zip(
                softmax_cross_entropy.value_and_gradient(x, t.to(integer), 1), (losses, dx), strict=True
            ):
                assert torch.equal(one, other)
    for one, other in zip(softmax_cross_entropy.value_and_gradient(own, t, 1), (losses, dx), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(softmax_cross_entropy.backward(dloss, own, t, 1).detach(), back)
    with pytest.raises(ValueError, match="target has class 9; x has 9 classes"):
        softmax_cross_entropy(own, torch.full((3, 4), 9), 1)


@needs("jax")
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_jax_has_the_same_losses_and_differentiates_them(kind):
    import jax

    x, dloss = (RNG.standard_normal((3, 9, 4)) * 3).astype("f4"), RNG.standard_normal((3, 4)).astype("f4")
    t = RNG.integers(0, 9, (3, 4)) if kind == "classes" else RNG.random((3, 9, 4)).astype("f4")

    def close(actual, expected):
        np.testing.assert_allclose(actual, expected, rtol=3e-6, atol=3e-6)

    losses, dx = softmax_cross_entropy.value_and_gradient(x, t, 1)
    close(softmax_cross_entropy(jax.numpy.asarray(x), t, 1), losses)
    if kind == "classes":
        close(softmax_cross_entropy(jax.numpy.asarray(x), jax.numpy.asarray(t, "i1"), 1), losses)
    both = jax.jit(lambda x, t: softmax_cross_entropy.value_and_gradient(x, t, 1))(x, t)
    close(both[0], losses)
    close(both[1], dx)
    gradient = jax.jit(jax.grad(lambda x, t: (softmax_cross_entropy(x, t, 1) * dloss).sum()))(x, t)
    close(gradient, softmax_cross_entropy.backward(dloss, x, t, 1))
    if kind == "classes":  # of which nobody can see that it is none
        t[1, 2] = 9
        assert np.argwhere(np.isnan(jax.jit(lambda t: softmax_cross_entropy(x, t, 1))(t))).tolist() == [[1, 2]]
