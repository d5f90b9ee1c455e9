"""The kernels of rows give what the bounds of their blocks say: on a host, compiled by g++, and on a GPU."""

from __future__ import annotations

import numpy as np
import pytest

import rectifier
from conftest import FLOATS, assert_same, require_gpu_tier
from rectifier import testing
from rectifier.catalogue import ROWWISE

require_gpu_tier("cupy")

from rectifier.backends.cupy import launch, source  # noqa: E402


def truth(name: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        x = x.astype(np.longdouble)
        if ROWWISE[name].spec.each != "exponential":
            return ROWWISE[name].spec.exact(None, x)
        x = -x if ROWWISE[name].spec.negated else x
        peak = x.max(axis=-1, keepdims=True)
        e = np.exp(x - peak)
        others = np.where(x == peak, 0, e).sum(axis=-1, keepdims=True) + ((x == peak).sum(axis=-1, keepdims=True) - 1)
        return (x - peak) - np.log1p(others) if name == "log_softmax" else e / (1 + others)


LENGTHS = (1, 2, 31, 33, 100, 129, 512, 1000, 1025, 4100, 9000)
NO_ROOM = 8999  # of a length of which no row is laid by in shared memory


@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
def test_logsumexp_is_within_its_bounds(device, dtype_name):
    dtype, block = testing.dtype_of(dtype_name), rectifier.logsumexp.spec
    rng = np.random.default_rng(0)
    bound = block.ulp[dtype_name == "float64"]
    for length in (1, 33, 1000, 9000):
        x = (rng.standard_normal((4, length)) * 4).astype(dtype)
        x[0, 0], x[1, -1], x[2], x[3, 0] = 20, np.inf, -np.inf, np.nan
        y = device.array(np.zeros(4, dtype))
        launch.run_rows(block, False, dtype, (device.array(x),), y)
        e = np.exp(x[0].astype(np.longdouble) - 20)
        exact = np.array([20 + np.log(e.sum()), np.inf, -np.inf, np.nan])
        assert testing.ulps(device.numpy(y), exact, dtype).max() <= bound, length
        dy, dx = np.array([3, 1, 1, 1]).astype(dtype), device.array(np.zeros_like(x))
        launch.run_rows(block, True, dtype, (device.array(dy), device.array(x)), dx)
        found = device.numpy(dx)
        cancelling = (rng.standard_normal((200, length)) * 0.3 - np.log(length)).astype(dtype)
        y = device.array(np.zeros(200, dtype))
        launch.run_rows(block, False, dtype, (device.array(cancelling),), y)
        exact = np.log(np.exp(cancelling.astype(np.longdouble)).sum(axis=-1))
        units, errors = testing.ulps(device.numpy(y), exact, dtype), np.abs(device.numpy(y) - exact)
        beside = np.log(length) * (2.0**-51 if dtype_name == "float64" else 2.0**-28)
        assert (errors[units > bound] <= beside).all(), length
        assert np.isnan(found[1:]).all()
        assert testing.ulps(found[0], 3 * e / e.sum(), dtype).max() <= bound, length


@pytest.mark.parametrize("name", ROWWISE)
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_rows_are_within_the_bounds(device, name, dtype_name, monkeypatch):
    dtype, block = testing.dtype_of(dtype_name), ROWWISE[name].spec
    rng = np.random.default_rng(0)
    bound = {"float32": block.ulp[0], "float64": block.ulp[1]}.get(dtype_name, 0.5001)
    for length in (*LENGTHS, NO_ROOM):
        if length == NO_ROOM:
            monkeypatch.setattr(source, "SHARED", 1 << 30)
        x = (rng.standard_normal((3, length)) * 4).astype(dtype)
        x[0, 0] = -20 if block.negated else 20
        y = device.array(np.zeros_like(x))
        launch.run_rows(block, False, dtype, (device.array(x),), y)
        errors = testing.ulps(device.numpy(y), truth(name, x), dtype)
        assert errors.max() <= bound, (length, errors.max())
        dy, dx = rng.standard_normal(x.shape).astype(dtype), device.array(np.zeros_like(x))
        launch.run_rows(block, True, dtype, (device.array(dy), y), dx)
        wide, result = dy.astype("f8"), device.numpy(y).astype("f8")
        expected = getattr(rectifier, name).backward(wide, y=result)
        # dy and what is taken from it cancel; the rest is rounded to the dtype.
        terms = np.abs(wide * result if name in ("softmax", "softmin") else wide).sum(axis=-1, keepdims=True)
        # 4 units, as the CPU's own may be off; with 16 bits the sum is rounded to float32.
        slack = terms * {"float64": 2.0**-49, "float32": 2.0**-26}.get(dtype_name, 2.0**-24)
        rounding = np.abs(
            np.nextafter(np.abs(expected).astype(dtype), dtype.type(np.inf)).astype("f8") - np.abs(expected)
        )
        error = np.abs(device.numpy(dx).astype("f8") - expected)
        assert (error <= slack + rounding).all(), length


@pytest.mark.parametrize("name", ROWWISE)
def test_a_row_has_the_same_bits_among_any_others(device, name):
    x = np.random.default_rng(0).standard_normal((70, 1500)).astype("f8")
    for columns in (7, 1500):
        rows = x[:, :columns].copy()
        y = device.array(np.zeros_like(rows))
        launch.run_rows(ROWWISE[name].spec, False, "float64", (device.array(rows),), y)
        for k in (0, 1, 33, 69):
            alone = device.array(np.zeros((1, columns)))
            launch.run_rows(ROWWISE[name].spec, False, "float64", (device.array(rows[k : k + 1]),), alone)
            assert_same(device.numpy(alone)[0], device.numpy(y)[k])


@pytest.mark.parametrize("length", [96, 129, 1100])
@pytest.mark.parametrize("dtype_name", ["float16", "float32"])
def test_a_row_has_the_same_bits_wherever_it_lies(device, dtype_name, length):
    dtype, block = np.dtype(dtype_name), ROWWISE["softmax"].spec
    x = (np.random.default_rng(1).standard_normal((2, length)) * 3).astype(dtype)
    dy = np.roll(x, 1)
    found = set()
    for before in range(0, 16, dtype.itemsize):
        y, dx = device.array(np.zeros_like(x), before), device.array(np.zeros_like(x), before)
        launch.run_rows(block, False, dtype, (device.array(x, before),), y)
        launch.run_rows(block, True, dtype, (device.array(dy), y), dx)
        found.add((device.numpy(y).tobytes(), device.numpy(dx).tobytes()))
    assert len(found) == 1


@pytest.mark.parametrize("name", ROWWISE)
@pytest.mark.parametrize("length", [5, 1030])
def test_rows_with_infinities_and_nan_are_those_of_the_cpu(device, name, length):
    x = np.zeros((6, length), "f4")
    x[0, 1], x[1, 1], x[2, 1], x[3], x[4, :2] = np.nan, np.inf, -np.inf, -np.inf, (1e38, -1e38)
    y = device.array(x)
    launch.run_rows(ROWWISE[name].spec, False, "float32", (y,), y)  # in place
    expected = getattr(rectifier, name)(x)
    assert np.array_equal(np.isnan(device.numpy(y)), np.isnan(expected))
    np.testing.assert_allclose(device.numpy(y), expected, rtol=2e-7)


@pytest.mark.parametrize("length", [1024, 20_000])
def test_the_bound_of_float64_holds_in_rows_of_any_length(device, length):
    for row in (np.concatenate([[0.0], np.full(length - 1, -0.1)]), np.linspace(0, -30, length)):
        y = device.array(np.zeros((1, length)))
        launch.run_rows(ROWWISE["softmax"].spec, False, "float64", (device.array(row[None]),), y)
        assert testing.ulps(device.numpy(y), truth("softmax", row[None]), row.dtype).max() <= 4


def test_a_row_beyond_a_million(device):
    x = np.random.default_rng(0).standard_normal((1, (1 << 20) + 3)).astype("f4")
    y = device.array(np.zeros_like(x))
    launch.run_rows(ROWWISE["softmax"].spec, False, "float32", (device.array(x),), y)
    assert testing.ulps(device.numpy(y), truth("softmax", x), x.dtype).max() <= ROWWISE["softmax"].spec.ulp[0]


@pytest.mark.parametrize("dtype_name", FLOATS)
def test_the_longest_rows_of_each_kernel_and_those_one_longer_are_right(device, dtype_name):
    """What is behind the end of a row is in no sum and stays as it is."""
    dtype, rng = testing.dtype_of(dtype_name), np.random.default_rng(6)
    spec, backward = ROWWISE["softmax"].spec, rectifier.softmax.backward
    bound = {"float32": spec.ulp[0], "float64": spec.ulp[1]}.get(dtype_name, 0.5001)
    ways = source.row_kernels(spec, dtype_name)[:-1]
    most = [16 * way.threads * way.vectors // dtype.itemsize for way in ways[:-1]]
    used = set()
    for length in sorted({n + more for n in most for more in (0, 1)} | {1, most[0] - 1}):
        used.add(source.row_kernel(spec, dtype_name, length, room=1 << 16).name)
        x = (rng.standard_normal((2, length)) * 2).astype(dtype)
        whole = device.array(np.full(2 * length + 5, 7, dtype))
        launch.run_rows(spec, False, dtype, (device.array(x),), whole[: 2 * length].reshape(2, length))
        written = device.numpy(whole)
        y = written[: 2 * length].reshape(2, length)
        assert (written[2 * length :] == 7).all()
        assert testing.ulps(y, truth("softmax", x), dtype).max() <= bound, length
        dx = device.array(np.zeros_like(x))
        launch.run_rows(spec, True, dtype, (device.array(x), device.array(y)), dx)
        unit = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}[dtype_name]
        expected = backward(x.astype("f8"), y=y.astype("f8"))
        slack = 2.0**-24 if dtype.itemsize < 8 else 2.0**-50
        np.testing.assert_allclose(device.numpy(dx).astype("f8"), expected, rtol=unit, atol=slack)
    assert used == {way.name for way in ways}


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("step", [1 << 16, pytest.param(1, marks=pytest.mark.slow)])
def test_every_float32_below_a_peak_and_as_a_peak(device, name, step):
    """Each of them, step by step: below 0 in a row whose largest is 0, and as the largest of a short row."""
    spec, rng, bound = ROWWISE[name].spec, np.random.default_rng(7), ROWWISE[name].spec.ulp[0]
    count, seen = 512 * 4096 * step, 0
    for first in range(rng.integers(step), 1 << 31, count):
        bits = np.arange(first, min(first + count, 0x7F800001), step, dtype=np.int64)
        if not bits.size:
            break
        below = -rng.permutation(bits).astype(np.uint32).view("f4")
        rows = np.concatenate([below, np.full(-below.size % 511, -np.inf, "f4")]).reshape(-1, 511)
        assert_right(device, spec, np.insert(rows, 0, 0, axis=1), bound)
        seen += bits.size
    assert seen * step > 0x7F000000
    largest = np.arange(rng.integers(1 << 20), 1 << 32, step << 5, dtype=np.int64).astype(np.uint32).view("f4")
    largest = largest[np.isfinite(largest)][:, None]
    with np.errstate(over="ignore"):
        near = np.nextafter(largest, np.float32(-np.inf)) - np.array([0, 1e-3, 0.5, 3, 20, 99], "f4")
    assert_right(device, spec, np.concatenate([near[:, :3], largest, near[:, 3:]], axis=1), bound)


def assert_right(device, spec, x, bound):
    """Assert that rows are within a bound of what long double gives; -infinity is itself."""
    y = device.array(np.zeros_like(x))
    launch.run_rows(spec, False, "float32", (device.array(x),), y)
    y, expected = device.numpy(y), truth(spec.name, x)
    with np.errstate(invalid="ignore"):
        errors = np.where(y == expected, 0, testing.ulps(y, expected, y.dtype))
    assert errors.max() <= bound, (errors.max(), x[np.unravel_index(errors.argmax(), x.shape)])


@pytest.mark.parametrize("dtype_name", FLOATS)
def test_rows_of_numbers_too_large_for_their_differences(device, dtype_name):
    """As masks have them: the least number, beside what counts, and alone; and all far from 0."""
    dtype = testing.dtype_of(dtype_name)
    numbers = testing.special_values(dtype).astype("f8")
    least = numbers[np.isfinite(numbers)].max()
    rows = np.array(
        [[1, 2, -least, 0.5], [-least] * 4, [least] * 4, [least, -least, 0, least], [-least, -np.inf, -least, 0]]
    )
    y = device.array(np.zeros_like(rows, dtype=dtype))
    launch.run_rows(ROWWISE["softmax"].spec, False, dtype, (device.array(rows.astype(dtype)),), y)
    expected = truth("softmax", rows.astype(dtype))
    assert testing.ulps(device.numpy(y), expected, dtype).max() <= (4 if dtype_name == "float64" else 1)
