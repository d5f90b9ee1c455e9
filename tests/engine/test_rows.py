"""The compiled call of rows: what it takes, what it refuses before anything is written, and where long rows wait."""

from __future__ import annotations

import ctypes
import os
import sys

import numpy as np
import pytest

from conftest import assert_same
from rectifier import log_softmax, softmax
from rectifier.engine import choice, memory, process

X = np.random.default_rng(0).standard_normal((6, 10)).astype("f4")

pytestmark = pytest.mark.skipif(not choice.compiles(), reason="nothing is compiled")


@pytest.fixture(scope="module", autouse=True)
def prepared():
    for function in (softmax, log_softmax):
        for method in function.methods.values():
            assert method.prepare(np.dtype("f4"))


def value(*operands):
    return softmax.methods["value"].compiled(*operands)


def gradient(*operands):
    return softmax.methods["backward"].compiled(*operands)


def read_only():
    out = X.copy()
    out.flags.writeable = False
    return out


def misaligned():
    return np.frombuffer(bytearray(X.nbytes + 1), "f4", offset=1).reshape(X.shape)


def with_metadata():
    return X.view(np.dtype("f4", metadata={"unit": "m"}))


class Subclass(np.ndarray):
    pass


REFUSED_X = {
    "a list": X.tolist(),
    "a number": 1.0,
    "no rows": X[:0],
    "rows of no elements": X[:, :0],
    "no dimensions": X[0, 0].reshape(()),
    "a dtype without a loop": X.astype("i4"),
    "the other byte order": X.astype(">f4"),
    "a dtype object of its own": with_metadata(),
    "a subclass": X.view(Subclass),
    "columns": X.T,
    "every second row": X[::2],
    "every second element": X[:, ::2],
    "negative strides": X[:, ::-1],
    "misaligned": misaligned(),
}
REFUSED_OUT = {
    "a list": X.tolist(),
    "a tuple": (X.copy(),),
    "fewer rows": X[:5].copy(),
    "one row": X[0].copy(),
    "one dimension more": X[None].copy(),
    "rows and columns swapped": np.zeros(X.shape[::-1], "f4"),
    "float64": X.astype("f8"),
    "read-only": read_only(),
    "columns": X.copy("F"),
    "misaligned": misaligned(),
    "a subclass": X.copy().view(Subclass),
}


@pytest.mark.parametrize("kind", REFUSED_X)
def test_x_that_needs_preparation_is_refused(kind):
    x = REFUSED_X[kind]
    out = np.full_like(x, 7, dtype="f4", order="C", subok=False)
    assert value(x, None) is NotImplemented
    assert value(x, out) is NotImplemented
    assert gradient(x, x, None) is NotImplemented
    assert (out == 7).all()


@pytest.mark.parametrize("kind", REFUSED_X)
def test_y_that_is_not_as_dy_is_refused(kind):
    assert gradient(X, REFUSED_X[kind], None) is NotImplemented
    assert gradient(REFUSED_X[kind], X, None) is NotImplemented


@pytest.mark.parametrize("kind", REFUSED_OUT)
def test_out_that_is_not_as_the_result_is_refused(kind):
    out = REFUSED_OUT[kind]
    before = np.array(out)
    assert value(X, out) is NotImplemented
    assert gradient(X, X, out) is NotImplemented
    assert_same(np.array(out), before)


@pytest.mark.parametrize("operands", [(), (X,), (X, None, None), (X, None, None, None)])
def test_another_number_of_operands_is_refused(operands):
    assert value(*operands) is NotImplemented
    if len(operands) != 3:
        assert gradient(*operands) is NotImplemented


@pytest.mark.parametrize("offset", range(-12, 13))
def test_out_that_overlaps_an_input_is_taken_only_if_it_is_the_input(offset):
    memory = np.zeros(3 * 12, "f4")
    x, out = memory[12:24].reshape(2, 6), memory[12 + offset :][:12].reshape(2, 6)
    x[:] = X[:2, :6]
    before, expected = memory.copy(), value(X[:2, :6].copy(), None)
    answer = value(x, out)
    if offset in (-12, 0, 12):
        assert answer is out
        assert_same(out, expected)
    else:
        assert answer is NotImplemented
        assert_same(memory, before)


def test_a_gradient_may_replace_either_input():
    y, dy = value(X, None), X[::-1].copy()
    expected = gradient(dy, y, None)
    for k in range(2):
        given = [dy.copy(), y.copy()]
        assert gradient(*given, given[k]) is given[k]
        assert_same(given[k], expected)
        assert_same(given[1 - k], (dy, y)[1 - k])


@pytest.mark.parametrize(
    "shape", [(1,), (10,), (64,), (65,), (2048,), (2049,), (5000,), (1, 1, 7), (3, 1, 5), (700, 65)]
)
def test_a_row_is_computed_as_it_is_alone(shape):
    x = np.random.default_rng(1).standard_normal(shape).astype("f4")
    rows = x.reshape(-1, shape[-1])
    y = value(x, None)
    assert_same(y.reshape(rows.shape), np.stack([value(row.copy(), None) for row in rows]))
    dy = x[::-1].copy()
    alone = [gradient(*pair, None) for pair in zip(dy.reshape(rows.shape), y.reshape(rows.shape), strict=True)]
    assert_same(gradient(dy, y, None).reshape(rows.shape), np.stack(alone))


def test_what_is_made_belongs_to_the_caller_alone():
    dtype, before = X.dtype, sys.getrefcount(X.dtype)
    out = np.empty_like(X)
    for _ in range(1000):
        made = value(X, None)
        assert value(X, out) is out
    assert sys.getrefcount(made) == 2
    assert sys.getrefcount(out) == 2
    assert made.flags.owndata
    assert made.flags.writeable
    assert made.flags.c_contiguous
    assert abs(sys.getrefcount(dtype) - before) < 100


@pytest.fixture
def pool():
    words = process.words()
    before = words.pool
    yield words
    words.pool = before


def test_exponentials_that_wait_and_that_are_computed_twice_are_the_same(pool):
    x = np.random.default_rng(0).standard_normal((9, 50_000)).astype("f4")
    plan = softmax.methods["value"].loops["float32"].plan
    longest = plan.longest_waiting
    assert longest >= x.shape[-1]
    expected = softmax(x)
    try:
        for plan.longest_waiting, has_memory in ((2048, True), (longest, True), (longest, False)):
            if not has_memory:
                pool.pool = 0
            assert_same(softmax(x), expected)
            own = x.copy()
            assert_same(softmax(own, out=own), expected)
    finally:
        plan.longest_waiting = longest


def test_the_places_where_exponentials_wait_are_given_back():
    x = np.random.default_rng(0).standard_normal((2, 50_000)).astype("f4")
    out = np.empty_like(x)
    before = memory.snapshot()
    for _ in range(20):
        softmax(x, out=out)
    after = memory.snapshot()
    assert after["live_bytes"] == before["live_bytes"]
    assert after["hits"] + after["misses"] >= before["hits"] + before["misses"] + 20


def test_rounding_is_the_default_s_whatever_the_caller_s():
    library, upwards = ctypes.CDLL(None), 0x800 if os.uname().machine == "x86_64" else 0x400000
    expected = value(X, None)
    assert library.fesetround(upwards) == 0
    try:
        actual = value(X, None)
        assert library.fegetround() == upwards
    finally:
        library.fesetround(0)
    assert_same(actual, expected)
