"""What is promised of single values of piecewise functions; test_family has what is promised of all."""

from __future__ import annotations

import math

import numpy as np
import pytest

from conftest import FLOATS, assert_same, settings_of
from rectifier.testing import check_backward, check_points, dtype_of, special_values


def test_special_values_and_grid_are_correctly_rounded(activation, dtype):
    x = np.concatenate([special_values(dtype), np.linspace(-9, 9, 401).astype(dtype)])
    for settings in settings_of(activation):
        if settings and 0.0 in settings.values():
            continue  # exact zeros: test_zero_slope_is_relu
        assert check_points(activation, x, **settings) > 800


def test_backward_selects_and_masks_agree(activation, dtype):
    for settings in [*settings_of(activation), dict.fromkeys(activation.spec.parameters, math.nan)]:
        check_backward(activation, special_values(dtype), **settings)


def test_nan_propagates(activation, dtype):
    x = np.array([math.nan, -math.nan]).astype(dtype)
    dy = np.ones_like(x)
    y, d = activation.value_and_derivative(x)
    for result in (
        activation(x),
        activation.derivative(x),
        activation.backward(dy, x),
        activation.backward(dy, y=x),
        y,
        d,
    ):
        assert np.isnan(result).all()


def test_from_a_mask_dy_passes_at_nan(activation, dtype):
    x = np.array([math.nan, -math.nan]).astype(dtype)
    _, mask = activation.with_mask(x)
    assert mask.count() == 2
    dy = np.array([3.0, -5.0]).astype(dtype)
    assert_same(activation.backward(dy, mask=mask), dy)


@pytest.mark.parametrize("dy", [math.inf, -math.inf, math.nan, -1.0, -0.0])
def test_a_unit_that_is_off_passes_plus_zero(activation, dtype, dy):
    settings = dict.fromkeys(activation.spec.parameters, 0.0)
    x = np.array([-1.0, -math.inf, -0.0, 0.0]).astype(dtype)
    dy = np.full_like(x, dy)
    _, mask = activation.with_mask(x, **settings)
    for dx in (
        activation.backward(dy, x, **settings),
        activation.backward(dy, y=x, **settings),
        activation.backward(dy, mask=mask, **settings),
    ):
        assert_same(dx, np.zeros_like(x))


def test_zero_slope_is_relu(activation, dtype):
    if "negative_slope" not in activation.spec.parameters:
        assert activation.spec.name == "relu"
        return
    from rectifier import relu

    x = special_values(dtype)
    assert_same(activation(x, negative_slope=0), relu(x))
    assert_same(activation.derivative(x, negative_slope=0), relu.derivative(x))


def test_sign_bit_of_relu_is_never_set(dtype):
    from rectifier import relu

    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, 1 << 16, np.uint8).view(dtype)
    for result in (relu(x), relu.derivative(x), *relu.value_and_derivative(x), relu.with_mask(x)[0]):
        with np.errstate(invalid="ignore"):  # ml_dtypes warns of a signalling NaN
            assert not np.signbit(result[~np.isnan(result)]).any()


def test_value_and_derivative_are_value_and_derivative(activation, dtype):
    x = special_values(dtype)
    for settings in settings_of(activation):
        y, d = activation.value_and_derivative(x, **settings)
        assert_same(y, activation(x, **settings))
        assert_same(d, activation.derivative(x, **settings))


def test_vjp_is_value_and_backward(activation, dtype):
    x = special_values(dtype)
    dy = x[::-1].copy()
    for settings in settings_of(activation):
        y, pullback = activation.vjp(x, **settings)
        assert_same(y, activation(x, **settings))
        assert_same(pullback(dy), np.where(np.isnan(x), dy, activation.backward(dy, x, **settings)))
        out = np.empty_like(dy)
        assert pullback(dy, out=out) is out
        assert_same(out, pullback(dy))


def test_backward_from_y_is_backward_from_x(activation, dtype):
    x = special_values(dtype)
    dy = x[::-1].copy()
    for settings in settings_of(activation):
        if any(value < 0 for value in settings.values()):
            continue
        y = activation(x, **settings)
        assert_same(activation.backward(dy, y=y, **settings), activation.backward(dy, x, **settings))


def test_no_call_warns_or_raises_floating_point_flags(activation, dtype):
    x = special_values(dtype)
    with np.errstate(all="raise"):
        activation(x)
        activation.derivative(x)
        activation.backward(x, x[::-1])
        activation.value_and_derivative(x)
        _, mask = activation.with_mask(x)
        activation.backward(x, mask=mask)
        activation(x[::3])


def test_a_formula_gives_the_same_for_a_list_and_a_number(activation):
    assert_same(activation([-2.0, 3.0]), activation(np.array([-2.0, 3.0])))
    y = activation(-2.0)
    assert isinstance(y, np.float64)
    assert_same(y, activation(np.array([-2.0]))[0])
    assert type(activation.with_mask(3.0)[0]) is np.float64


def test_every_float_dtype_is_tested():
    assert {dtype_of(name).name for name in FLOATS} == set(FLOATS)
