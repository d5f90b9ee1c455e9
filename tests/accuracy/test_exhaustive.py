"""Every gradient of the 16-bit dtypes (every value: test_family); in the slow tier every float32, by integers.

And that a default parameter, for which kernels have code of its own, gives the same bits as it does in an array.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import BACKENDS, assert_same, settings_of
from rectifier import testing
from rectifier.catalogue import CATALOGUE
from rectifier.testing import check_points, dtype_of
from rectifier.tools.verify import report


def all_16_bit_values(dtype):
    return np.arange(1 << 16, dtype=np.uint16).view(dtype)


@pytest.fixture(autouse=True)
def _ml_dtypes_warns_of_a_signalling_nan():
    with np.errstate(invalid="ignore"):
        yield


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_all_16_bit_values_with_another_parameter_are_correctly_rounded(activation, name):
    for settings in settings_of(activation)[-2:]:
        if settings:
            assert check_points(activation, all_16_bit_values(dtype_of(name))[::7], **settings) > 2 * 8_000


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_all_16_bit_gradients_are_correctly_rounded(activation, name):
    """All dy, at an x on either side of the kink, from x and from the mask: dy * d is exact in float64."""
    dtype = dtype_of(name)
    dy = all_16_bit_values(dtype)
    for settings in settings_of(activation):
        for x in (-1.0, 2.0):
            x = np.full_like(dy, x)
            d = activation.derivative(x[:1], **settings).astype(np.float64)
            with np.errstate(over="ignore"):
                product = (dy.astype(np.float64) * d).astype(np.float32 if name == "bfloat16" else dtype).astype(dtype)
            expected = product if d != 0 else np.zeros_like(dy)
            _, mask = activation.with_mask(x, **settings)
            assert_same(activation.backward(dy, x, **settings), expected)
            assert_same(activation.backward(dy, mask=mask, **settings), expected)


# Checked on some 4,000,000 numbers each, chosen where a function may go wrong, and not yet on all.
SAMPLED = {"dish", "laplace", "snake", "sqrt_softplus", "tanh_shrink", "threshold", "xielu"}


def worst_of_float32():
    stages = report.load(Path(__file__).parents[2] / "benchmarks" / "verify.json")
    stages = [stage for stage in stages if stage.dtype == "float32" and stage.function in CATALOGUE]
    assert {stage.function for stage in stages} == set(CATALOGUE)
    assert {stage.function for stage in stages if not stage.exhaustive} == SAMPLED
    rows = [(stage.function, stage.row(operation)) for stage in stages for operation in ("value", "derivative")]
    found = [(name, row) for name, row in rows if row.tally.worst_ulp]
    assert len(found) > 2 * 14
    return found


@pytest.mark.parametrize(("name", "row"), worst_of_float32(), ids=lambda case: getattr(case, "operation", case))
def test_the_worst_of_all_float32_are_as_the_documentation_says(name, row):
    function, x = CATALOGUE[name], np.array([float(row.tally.at)], np.float32)
    result = function(x) if row.operation == "value" else function.derivative(x)
    settings = testing.settings_of(function.spec, x.dtype, {})
    right = testing.exact(function.spec, x[0].item(), settings)[row.operation != "value"]
    assert testing.ulp_distance(result[0].item(), right, x.dtype) == pytest.approx(row.tally.worst_ulp, abs=1e-3)
    assert row.tally.worst_ulp < max(function.spec.ulp.float32, 0.5 + 1e-9)


def expected_by_integers(name: str, bits: np.ndarray, slope: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Value and derivative of float32 bit patterns, by integers and one float64 product; NaN keeps its place."""
    negative = bits >> 31 == 1
    nan = bits & 0x7FFFFFFF > 0x7F800000
    off = (negative & ~nan) | (bits << 1 == 0)
    with np.errstate(invalid="ignore"):
        x = bits.view(np.float32)
    if name == "relu":
        value, low = np.where(off, np.float32(0), x), np.float32(0)
    else:  # 24 bits times 24 bits fit float64; the conversion rounds once
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            product = (x.astype(np.float64) * np.float64(slope)).astype(np.float32)
        value, low = np.where(off, product, x), slope
    derivative = np.where(nan, np.float32(np.nan), np.where(off, low, np.float32(1)))
    return value, derivative


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_all_float32_values(name):
    activation = getattr(BACKENDS["llvm"], name)
    step, count = 1 << 24, 0
    for start in range(0, 1 << 32, step):
        bits = np.arange(start, start + step, dtype=np.uint64).astype(np.uint32)
        x = bits.view(np.float32)
        value, derivative = expected_by_integers(name, bits, np.float32(0.01))
        assert_same(activation(x), value)
        assert_same(activation.derivative(x), derivative)
        y, mask = activation.with_mask(x)
        assert_same(y, value)
        assert_same(mask.to_array(), (derivative == 1) | np.isnan(derivative))
        count += step
    assert count == 1 << 32


WITH_DEFAULTS = [name for name, function in CATALOGUE.items() if function.spec.wide and function.spec.uniform]


def calls(name, x, dy, **parameters):
    function = CATALOGUE[name]
    return function(x, **parameters), function.derivative(x, **parameters), function.backward(dy, x, **parameters)


@pytest.mark.parametrize("name", WITH_DEFAULTS)
def test_a_default_parameter_gives_the_same_bits_from_an_array(name, dtype):
    """From one of it alone, and from one of others between: what an element becomes is up to its own numbers."""
    if dtype.itemsize == 2:
        x = all_16_bit_values(dtype)
    else:
        rng, size = np.random.default_rng(7), 1 << 17
        bits = rng.integers(0, 256, dtype.itemsize * size, np.uint8).view(dtype)
        near = rng.choice([-1, 1], size) * np.exp2(rng.uniform(-30, 7, size))
        zeros = np.array([-1.2784645427610738]) + rng.uniform(-0.2, 0.2, size // 8)
        special = [0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal]
        x = np.concatenate([bits, *[numbers.astype(dtype) for numbers in (near, zeros, np.array(special))]])
    dy = np.ascontiguousarray(x[::-1])
    (parameter, default), *_ = CATALOGUE[name].spec.parameters.items()
    alone = np.full(x.shape, default, dtype)
    mixed = np.where(np.arange(x.size) % 3 == 0, dtype.type(0.75), alone)
    with np.errstate(all="ignore"):
        expected = calls(name, x, dy)
        other = calls(name, x, dy, **{parameter: 0.75})
        for given in (default, alone, np.broadcast_to(dtype.type(default), x.shape)):
            for actual, result in zip(calls(name, x, dy, **{parameter: given}), expected, strict=True):
                assert_same(actual, result)
        for actual, result, there in zip(calls(name, x, dy, **{parameter: mixed}), expected, other, strict=True):
            assert_same(actual, np.where(mixed == alone, result, there))


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_DEFAULTS)
def test_a_default_parameter_gives_the_same_bits_from_an_array_for_all_float32_values(name):
    function, step = CATALOGUE[name], 1 << 24
    array = {name: np.full(step, default, np.float32) for name, default in function.spec.parameters.items()}
    for start in range(0, 1 << 32, step):
        x = np.arange(start, start + step, dtype=np.uint64).astype(np.uint32).view(np.float32)
        assert_same(function(x, **array), function(x))
        assert_same(function.derivative(x, **array), function.derivative(x))
