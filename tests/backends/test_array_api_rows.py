"""Options of rows on arrays of JAX, of PyTorch and of the array API standard: our values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import needs, optional
from rectifier import log_softmax, softmax

strict, jax, torch = (optional(name) for name in ("array_api_strict", "jax", "torch"))
jnp = optional("jax.numpy") if jax else None
LIBRARIES = {
    "strict": (lambda x: strict.asarray(x), np.from_dlpack),
    "jax": (lambda x: jnp.asarray(x), np.asarray),
    "torch": (lambda x: torch.tensor(x), lambda tensor: tensor.detach().numpy()),
    "torch-grad": (
        lambda x: torch.tensor(x, requires_grad=x.ndim == 4 and x.dtype != bool),
        lambda tensor: tensor.detach().numpy(),
    ),
}  # fmt: skip
NEEDS = {"strict": "array_api_strict", "jax": "jax", "torch": "torch", "torch-grad": "torch"}

each = pytest.mark.parametrize("function", [softmax, log_softmax])
libraries = pytest.mark.parametrize("library", [pytest.param(name, marks=needs(NEEDS[name])) for name in LIBRARIES])

RNG = np.random.default_rng(0)
X, DY = (RNG.standard_normal((2, 2, 3, 4, 10)) * 3).astype("f4")
WHERE = RNG.random((3, 1, 10)) < 0.6
WHERE[0, 0] = False  # a row with nothing left
SINK = RNG.standard_normal((3, 1)).astype("f4")
OPTIONS = {
    "where": {"where": WHERE},
    "causal": {"causal": True, "scale": 0.3},
    "sink": {"sink": SINK},
    "all": {"where": WHERE, "causal": True, "scale": 0.3, "sink": SINK},
    "along an axis": {"where": WHERE, "scale": 2.5, "sink": np.float32(1.5), "axis": 1},
    "along axes": {"where": WHERE, "scale": 2.5, "sink": np.float32(1.5), "axis": (0, 2)},
    "numbers": {"where": False, "sink": -1.5},
}


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-6)


def without_sink(options):
    return {name: value for name, value in options.items() if name != "sink"}


def taken(options, take):
    return {name: take(value) if isinstance(value, np.ndarray) else value for name, value in options.items()}


@each
@libraries
@pytest.mark.parametrize("case", OPTIONS)
def test_options_are_those_of_numpy(function, library, case):
    (take, give), options = LIBRARIES[library], OPTIONS[case]
    y = function(X, **options)
    own, given = taken(options, take), without_sink(options)
    close(give(function(take(X), **own)), y)
    dx = function.backward(DY, y=y, **given)
    close(give(function.backward(take(DY), y=take(y), **without_sink(own))), dx)
    close(give(function.vjp(take(X), **without_sink(own))[1](take(DY))), function.backward(DY, X, **given))
    if "sink" in options:
        expected = function.backward(DY, X, **options)
        for actual, one in zip(function.backward(take(DY), take(X), **own), expected, strict=True):
            close(give(actual), one)


@each
@needs("torch")
@pytest.mark.parametrize("case", OPTIONS)
def test_pytorch_differentiates_what_counts(function, case):
    options, x = OPTIONS[case], torch.tensor(X, requires_grad=True)
    y = function(x, **taken(options, torch.tensor))
    finite = torch.isfinite(y)
    (torch.where(finite, y, 0) * torch.tensor(DY)).sum().backward()
    dy = np.where(finite.numpy(), DY, 0)
    close(x.grad, function.backward(dy, y=function(X, **options), **without_sink(options)))


@needs("jax")
@pytest.mark.parametrize(("function", "case"), [(softmax, "all"), (log_softmax, "along axes")])
def test_jax_differentiates_what_counts(function, case):
    options, x = OPTIONS[case], jnp.asarray(X)
    own = taken(options, jnp.asarray)
    arrays = {name: own.pop(name) for name in ("where", "sink") if not isinstance(own.get(name, 0.0), float | bool)}
    y = function(X, **options)
    close(jax.jit(lambda x, arrays: function(x, **arrays, **own))(x, arrays), y)
    dy = np.where(np.isfinite(y), DY, 0)

    def loss(x, arrays):
        y = function(x, **arrays, **own)
        return (jnp.where(jnp.isfinite(y), y, 0) * dy).sum()

    dx = function.backward(dy, y=y, **without_sink(options))
    close(jax.grad(loss)(x, arrays), dx)
    close(jax.jit(jax.grad(loss))(x, arrays), dx)
    slope = jax.jvp(lambda x: loss(x, arrays), (x,), (jnp.asarray(DY),))[1]
    np.testing.assert_allclose(slope, (dx * DY).sum(), rtol=1e-4, atol=1e-4)


@needs("jax")
def test_jax_maps_over_options():
    where = RNG.random(X.shape[1:]) < 0.5
    y = jax.vmap(lambda x, where: softmax(x, where=where, causal=True, scale=0.5))(X[0], where)
    close(y, softmax(X[0], where=where, causal=True, scale=0.5))


@each
@needs("jax")
def test_jax_differentiates_rows_of_any_length(function):
    """Rows of more than eight elements, whose sum compares, had no transpose."""
    for n in (8, 9, 70):
        x = RNG.standard_normal((2, n)).astype("f4")
        dx = jax.grad(lambda x: (function(x) ** 2).sum())(jnp.asarray(x))
        close(dx, function.backward(2 * function(x), x))


@each
@needs("jax", "torch")
def test_no_library_differentiates_by_a_sink_unawares(function):
    message = r"differentiates by sink; backward\(dy, x, sink=sink\) gives dx and dsink"
    with pytest.raises(TypeError, match=message):
        jax.grad(lambda sink: function(jnp.asarray(X), sink=sink).sum())(1.0)
    with pytest.raises(TypeError, match=message):
        function(torch.tensor(X), sink=torch.tensor(1.0, requires_grad=True))


@each
@needs("torch")
@pytest.mark.parametrize("gradient", [False, True])
def test_what_is_wrong_is_refused(function, gradient):
    x, name = torch.tensor(X, requires_grad=gradient), function.__name__
    for options, error, message in (
        ({"where": torch.ones(10)}, TypeError, "where has dtype (torch.)?float32; it takes an array of bool"),
        ({"where": torch.ones(3, 3, dtype=torch.bool)}, ValueError, "where has shape"),
        ({"scale": -1}, ValueError, "scale is -1"),
        ({"sink": torch.ones(9)}, ValueError, "sink has shape"),
        ({"causal": True, "axis": 0}, ValueError, "causal is over the last two axes"),
    ):
        with pytest.raises(error, match=f"^{name}: {message}"):
            function(x, **options)
    if gradient:
        with pytest.raises(TypeError, match=f"^{name}: where is a numpy.ndarray, and the call has arrays of torch"):
            function(x, where=WHERE)
