"""Arrays of Cubed with a `Spec`, as all real ones are: where intermediate arrays go, and how much memory is allowed.

https://cubed-dev.github.io/cubed/configuration.html. Cubed takes no two arrays of different ones in a computation, so a
constant needs that of the array that it meets; the standard's `full_like` gives it.
"""

from __future__ import annotations

import numpy as np
import pytest

import rectifier
from rectifier import glu, leaky_relu, log_softmax, relu, silu, softmax
from rectifier.catalogue import ALL, CATALOGUE, ROWWISE

cubed = pytest.importorskip("cubed")
xp = pytest.importorskip("cubed.array_api")

X, DY = np.random.default_rng(0).standard_normal((2, 4, 6)).astype("f4") * 3
CALLS = {
    "relu": (lambda dy, x: relu(x)),
    "relu-derivative": (lambda dy, x: relu.derivative(x)),
    "relu-vjp": (lambda dy, x: relu.vjp(x)[1](dy)),
    "leaky_relu": (lambda dy, x: leaky_relu.backward(dy, x, negative_slope=0.3)),
    "leaky_relu-slopes": (lambda dy, x: leaky_relu(x, negative_slope=dy)),
    "silu": (lambda dy, x: silu.value_and_derivative(x)[1]),
    "glu": (lambda dy, x: glu(x, dy)),
    "glu-backward": (lambda dy, x: glu.backward(dy, x, x[0, :])[1]),
    "softmax": (lambda dy, x: softmax(x, axis=0)),
    "softmax-all": (lambda dy, x: softmax(x, axis=(0, 1))),
    "log_softmax": (lambda dy, x: log_softmax.backward(dy, x)),
}


@pytest.fixture
def arrays(tmp_path):
    spec = cubed.Spec(work_dir=str(tmp_path), allowed_mem="200MB")
    return tuple(xp.asarray(array, chunks=(2, 3), spec=spec) for array in (DY, X))


@pytest.mark.parametrize("call", CALLS)
def test_a_call_computes_in_the_spec_of_its_arrays(call, arrays):
    lazy, expected = CALLS[call](*arrays), CALLS[call](DY, X)
    assert type(lazy) is type(arrays[0])
    assert lazy.spec == arrays[0].spec
    actual = lazy.compute()
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["relu", "silu", "glu", "softmax"])
def test_nothing_is_computed_at_the_call(name, arrays, monkeypatch):
    plan = pytest.importorskip("cubed.core.plan")

    def execute(*arguments, **keywords):
        raise AssertionError

    for kind in vars(plan).values():
        if isinstance(kind, type) and hasattr(kind, "execute"):
            monkeypatch.setattr(kind, "execute", execute)
    f, (dy, x) = ALL[name], arrays
    f(x, dy) if name == "glu" else f(x)
    f.backward(dy, x, dy) if name == "glu" else f.backward(dy, x)
    with pytest.raises(AssertionError):
        relu(x).compute()


@pytest.mark.slow  # a graph of a smooth function has hundreds of operations
@pytest.mark.parametrize("name", ALL)
def test_every_function(name, arrays):
    f, (dy, x) = getattr(rectifier, name), arrays
    pairs = [(f(x), f(X))] if name in CATALOGUE or name in ROWWISE else [(f(x, dy), f(X, DY))]
    if name in CATALOGUE:
        pairs += [(f.derivative(x), f.derivative(X)), (f.backward(dy, x), f.backward(DY, X))]
    elif name in ROWWISE:
        pairs += [(f.backward(dy, x), f.backward(DY, X))]
    else:
        pairs += zip(f.backward(dy, x, dy), f.backward(DY, X, DY), strict=True)
    for lazy, expected in pairs:
        actual = lazy.compute()
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
