"""Arrays of Dask whose sides nobody knows before they are computed, as a boolean condition leaves them.

https://docs.dask.org/en/stable/array-chunks.html#unknown-chunks; dask/dask#3176. What comes is what NumPy gives of the
computed arrays, or a refusal that says what to do: never numbers of chunks that do not belong together.
"""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest

import rectifier
from conftest import assert_same
from rectifier import glu, leaky_relu, log_softmax, relu, softmax
from rectifier.catalogue import ALL, CATALOGUE, ROWWISE

X, DY = np.random.default_rng(0).standard_normal((2, 8, 6)).astype("f4")
KEEP = np.array([1, 1, 0, 1, 1, 0, 0, 1], bool)
PAIRS = {  # functions of two arrays of one shape
    "backward": relu.backward,
    "from y": lambda dy, y: relu.backward(dy, y=y),
    "from mask": lambda dy, x: relu.backward(dy, mask=relu.with_mask(x)[1]),
    "pullback": lambda dy, x: relu.vjp(x)[1](dy),
    "slopes": lambda slopes, x: leaky_relu(x, negative_slope=slopes),
    "slopes of a mask": lambda slopes, x: leaky_relu.with_mask(x, negative_slope=slopes)[0],
    "gated": glu,
    "gradients of gated": lambda dy, x: glu.backward(dy, x, x)[1],
    "softmax": lambda dy, y: softmax.backward(dy, y=y, axis=0),
    "log_softmax": lambda dy, x: log_softmax.backward(dy, x, axis=0),
}


def compute(result):
    return dask.compute(result, scheduler="synchronous")[0]


def kept(array, keep, chunks):
    """Keep the rows where a condition holds; their number is not known."""
    return da.from_array(array, chunks=chunks)[da.from_array(keep, chunks=(chunks[0],))]


@pytest.mark.parametrize("function", [softmax, log_softmax], ids=lambda f: f.__name__)
@pytest.mark.parametrize("columns", [6, 3, 2])
def test_columns_in_chunks_are_joined_in_both_operands(function, columns):
    dy, y = kept(DY, KEEP, (2, columns)), kept(X, KEEP, (2, 3))
    assert_same(compute(function.backward(dy, y=y)), function.backward(DY[KEEP], y=X[KEEP]))
    assert_same(compute(function.backward(dy, y)), function.backward(DY[KEEP], X[KEEP]))


@pytest.mark.parametrize("call", PAIRS)
def test_chunks_that_meet_have_one_size(call):
    first, other = np.arange(8) % 2 == 0, np.ones(8, bool)
    x, y = kept(X[:, 0], other, (2,)), kept(DY[:, 0], first, (2,))  # chunks of 2, and of 1
    with pytest.raises(ValueError, match=r"call compute_chunk_sizes\(\)"):
        compute(PAIRS[call](y, x))
    with pytest.raises(ValueError, match=r"call compute_chunk_sizes\(\)"):  # one chunk of 2, four of 2
        compute(PAIRS[call](kept(DY[:2, 0], other[:2], (2,)), x))
    whole, part = kept(X[:, 0], first, (8,)), kept(DY[:, 0], ~first, (8,))
    assert_same(compute(PAIRS[call](part, whole)), PAIRS[call](DY[1::2, 0], X[::2, 0]))


def test_sizes_once_computed_are_cut_alike():
    x, y = kept(X[:, 0], KEEP, (2,)), kept(DY[:, 0], KEEP[::-1].copy(), (2,))
    with pytest.raises(
        ValueError, match=r"relu.backward: chunks that meet differ in size along axis 0, dy has 2, x has 1"
    ):
        compute(relu.backward(y, x))
    x.compute_chunk_sizes(), y.compute_chunk_sizes()
    assert_same(compute(relu.backward(y, x)), relu.backward(DY[KEEP[::-1], 0], X[KEEP, 0]))


def test_a_known_side_beside_an_unknown_one():
    every = np.ones(8, bool)
    for chunks in (8, 2):
        x = kept(X[:, 0], every, (chunks,))
        known = da.from_array(DY[:, 0], chunks=chunks)
        for name, call in PAIRS.items():
            if "softmax" in name and chunks == 2:
                continue  # a row lies in one chunk
            assert_same(compute(call(known, x)), call(DY[:, 0], X[:, 0]))
    with pytest.raises(ValueError, match=r"dy has 1, x has 4, .* call compute_chunk_sizes\(\)"):
        relu.backward(DY[:, 0], x)
    with pytest.raises(ValueError, match=r"dy has shape \(6, 8\), the mask \(nan,\)"):
        relu.backward(DY.T.copy(), mask=relu.with_mask(x)[1])
    with pytest.raises(ValueError, match=r"chunks of unknown sizes along axis 0.* call compute_chunk_sizes\(\)"):
        softmax(x)
    with pytest.raises(ValueError, match=r"chunks of unknown sizes along axis 0.* call compute_chunk_sizes\(\)"):
        softmax(kept(X, KEEP, (2, 3)), axis=None)
    assert_same(compute(softmax(kept(X, KEEP, (8, 3)), axis=None)), softmax(X[KEEP], axis=None))


def test_a_task_says_what_differs():
    call = rectifier.backends.dask.tasks.Task(relu, "backward", ("dy", "x"), {}, ((-1, (0, 1)),))
    assert_same(call(DY, X), relu.backward(DY, X))
    with pytest.raises(
        ValueError, match=r"relu.backward: .* along axis 1, dy has 1, x has 6; call compute_chunk_sizes"
    ):
        call(DY[:, :1], X)


def chunks_of(side, rng):
    """Cut a side in up to three, some of them empty, but not a side of 1, in which Dask itself goes wrong."""
    cuts = np.sort(rng.integers(0, side + 1, rng.integers(0, 3))) if side > 1 else []
    return tuple(int(size) for size in np.diff([0, *cuts, side]))


def operand(shape, rng):
    """Make an array that broadcasts to a shape: NumPy's, or Dask's of which some sides are unknown; and its numbers."""
    shape = tuple(side if rng.random() < 0.85 else 1 for side in shape)[rng.random() < 0.1 :]
    kind = rng.choice(["known", "unknown", "numpy"], p=[0.3, 0.6, 0.1])
    keeps = {}
    for axis, side in enumerate(shape):
        if kind == "unknown" and rng.random() < 0.7:
            keeps[axis] = np.sort(rng.permutation(side + rng.integers(0, 4))[:side])
    sides = [max(keeps[k], default=-1) + 1 + int(rng.integers(0, 3)) if k in keeps else n for k, n in enumerate(shape)]
    numbers = np.asarray(rng.standard_normal(sides).astype("f4"))
    if kind == "numpy":
        return numbers, numbers
    chunks = tuple(chunks_of(side, rng) for side in sides)
    lazy = da.from_array(numbers, chunks=chunks if numbers.ndim else -1)
    for axis, places in keeps.items():
        keep = np.isin(np.arange(sides[axis]), places)
        index = (slice(None),) * axis
        numbers, lazy = numbers[(*index, keep)], lazy[(*index, da.from_array(keep, chunks=(chunks[axis],)))]
    return lazy, numbers


def drawn(rng):
    """Draw a function, an operation and operands: a call of either kind of arrays, by 0 and 1."""
    shape = tuple(int(side) for side in rng.choice([0, 1, 2, 4, 5], rng.integers(1, 3)))
    name = str(rng.choice([*ROWWISE, "glu", "prelu", "leaky_relu", "relu", "silu"]))
    f, x, dy, z = ALL[name], *(operand(shape, rng) for _ in range(3))
    which = int(rng.integers(0, 6))
    if name in ROWWISE:
        axis = [-1, 0, None, (0,), (-1,), ()][which]
        calls = [lambda k: f.backward(dy[k], y=x[k], axis=axis), lambda k: f.backward(dy[k], x[k], axis=axis)]
        return calls[which % 2]
    if name not in CATALOGUE:
        return [lambda k: f(x[k], z[k]), lambda k: f.backward(dy[k], x[k], z[k])][which % 2]
    settings = [{}, {}]
    if name == "leaky_relu":
        settings = [{"negative_slope": abs(array)} for array in z]
    calls = [
        lambda k: f.derivative(x[k], **settings[k]),
        lambda k: f.backward(dy[k], x[k], **settings[k]),
        lambda k: f.value_and_derivative(x[k], **settings[k]),
        lambda k: f.vjp(x[k], **settings[k])[1](dy[k]),
    ]
    if "mask" in f.spec.backward_from:
        calls[0] = lambda k: (lambda y, mask: (y, mask.to_array()))(*f.with_mask(x[k], **settings[k]))
    return calls[which % 4]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_comes_is_that_of_numpy_or_a_refusal_that_says_what_to_do():
    rng = np.random.default_rng(7)
    equal = refused = 0
    for _ in range(300):
        call = drawn(rng)
        try:
            expected = call(1)
        except ValueError:
            with pytest.raises(ValueError, match=r"compute_chunk_sizes|shape|axis"):
                compute(call(0))
            continue
        try:
            found = compute(call(0))
        except (TypeError, ValueError) as error:
            if "compute_chunk_sizes()" not in str(error) and "the mask is of a NumPy array" not in str(error):
                raise
            refused += 1
            continue
        equal += 1
        for actual, right in zip(*(a if isinstance(a, tuple) else (a,) for a in (found, expected)), strict=True):
            assert (np.shape(actual), actual.dtype) == (np.shape(right), right.dtype)
            np.testing.assert_allclose(actual, right, rtol=1e-5, atol=1e-6)  # a gradient is summed by chunks
    assert equal > 120
    assert refused > 40
