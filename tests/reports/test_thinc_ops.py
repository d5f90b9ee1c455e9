"""Thinc's operations on ours: its own tests of them, and what those leave open."""

from __future__ import annotations

import functools
import inspect
import re

import numpy as np
import pytest
from hypothesis import assume

from rectifier import testing

pytest.importorskip("thinc")
from thinc.api import NumpyOps, use_ops
from thinc.tests.backends import test_ops as thincs

from rectifier.compat import thinc

OPS = thinc.RectifierOps()
# Its tests run over these lists, and some call ``float`` of arrays of one element, which NumPy 2.4 refuses.
thincs.XP_OPS[:] = thincs.ALL_OPS[:] = thincs.CPU_OPS[:] = [OPS]
thincs.float = lambda x: np.asarray(x).item()
ACTIVATIONS = "activations|clipped_linear|dish|eltwise|gelu|hard_|mish|relu|softmax|swish"
globals().update({name: test for name, test in vars(thincs).items() if re.match(f"test_.*({ACTIVATIONS})", name)})


def away_from_corners(test):
    """At 2.5 and -2.5 the slope of PyTorch's clip is 1 (0 from 2.14 on), and ours is that beyond the corner."""

    @functools.wraps(test)
    def checked(*, x, **others):
        assume(abs(np.float32(x)) != 2.5)
        test(x=x, **others)

    return checked


compared = thincs.test_compare_activations_to_torch.hypothesis
compared.inner_test = away_from_corners(compared.inner_test)


def test_thincs_own_tests_are_found():
    assert len([name for name in globals() if name in vars(thincs) and name.startswith("test_")]) >= 17


@pytest.mark.parametrize("function", [thinc.clipped_linear, thinc.hard_swish])
def test_the_two_functions_that_only_thinc_has(function):
    testing.check(function, ["float16", "bfloat16", "float32", "float64"])


def test_signatures_are_thincs():
    for name, method in vars(thinc.RectifierOps).items():
        if not name.startswith("_") and callable(method):
            ours, theirs = (inspect.signature(one).parameters.values() for one in (method, getattr(thincs.Ops, name)))
            assert [(p.name, p.default, p.kind) for p in ours] == [(p.name, p.default, p.kind) for p in theirs]


# What stays Thinc's: of an output alone a sigmoid has no derivative near 1, and sequences are ragged.
STAYS = {"backprop_sigmoid", "backprop_softmax_sequences", "softmax_sequences"}


def test_every_activation_method_is_ours():
    methods = {name for name in vars(thincs.Ops) if re.search(f"({ACTIVATIONS}|sigmoid)", name)} - {"dsigmoid"}
    assert {name for name in methods if name not in vars(thinc.RectifierOps)} == STAYS
    assert len(methods) >= 30


@pytest.mark.parametrize("name", ["relu", "gelu", "softmax", "sigmoid", "mish", "hard_swish", "relu_k"])
def test_in_place_writes_over_the_argument(name):
    x = np.linspace(-4, 4, 24, dtype=np.float32).reshape(4, 6)
    expected = getattr(OPS, name)(x)
    assert getattr(OPS, name)(x, inplace=True) is x
    np.testing.assert_array_equal(x, expected)
    assert expected.dtype == np.float32


def test_a_temperature_divides_first_and_leaves_what_came():
    x, dy = np.random.default_rng(0).standard_normal((2, 3, 5))
    kept = x.copy()
    y = OPS.softmax(x, temperature=2.5)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_allclose(y, NumpyOps().softmax(x, temperature=2.5), rtol=1e-14)
    expected = NumpyOps().backprop_softmax(y, dy, temperature=2.5)
    np.testing.assert_allclose(OPS.backprop_softmax(y, dy, temperature=2.5), expected, atol=1e-16)
    assert OPS.softmax(x, inplace=True, temperature=2.5) is x
    np.testing.assert_array_equal(x, y)


def test_another_threshold_of_mish_is_thincs():
    x = np.array([-1.0, 1.0, 3.0], np.float32)
    assert OPS.mish(x, threshold=2.0).tolist() == NumpyOps().mish(x, threshold=2.0).tolist()
    assert OPS.mish(x, threshold=2.0)[2] == 3 != OPS.mish(x)[2]
    dy = np.ones_like(x)
    assert OPS.backprop_mish(dy, x, threshold=2.0)[2] == 1 != OPS.backprop_mish(dy, x)[2]


def test_negative_slopes_have_a_gradient():
    x, dy = np.array([-0.5, 0.5]), np.ones(2)
    assert OPS.backprop_clipped_linear(dy, x, slope=-1.0, offset=0.0).tolist() == [-1.0, 0.0]


def test_models_take_them_by_their_name():
    from thinc.api import Relu, Softmax, chain

    with use_ops("rectifier"):
        model = chain(Relu(4, 3), Softmax(2, 4)).initialize()
    assert all(type(layer.ops) is thinc.RectifierOps for layer in (model, *model.layers))
    x = np.random.default_rng(0).standard_normal((5, 3), dtype=np.float32)
    y, pullback = model.begin_update(x)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)
    assert pullback(y).shape == x.shape
