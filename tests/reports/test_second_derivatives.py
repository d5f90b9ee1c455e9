"""Second derivatives by JAX and PyTorch, where automatic differentiation of a selection is known to fail.

Both multiply the branch that is not taken by 0 in reverse mode, and get NaN if it overflows: jax-ml/jax#1052,
jax-ml/jax#5798 (the FAQ's "Gradients contain NaN where using where"), pytorch/pytorch#68425, pytorch/pytorch#52248.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import rectifier
from conftest import needs, optional
from rectifier.catalogue import CATALOGUE, GATES, ROWWISE
from rectifier.formulas.mpmath import MPMATH, Dual

jax, torch = optional("jax"), optional("torch")
jnp = optional("jax.numpy") if jax else None
needs_jax, needs_torch = needs("jax"), needs("torch")

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # forward mode's

SLOW = pytest.mark.slow
MAGNITUDES = (1e-30, 0.3, 1.0, 2.0, 5.0, 20.0, 38.0, 88.0, 100.0, 700.0, 1000.0, 1e10)
# One-sided: the first derivative has a bend there.
BENDS = {
    "elu": (0.0,), "selu": (0.0,), "celu": (0.0,), "squared_relu": (0.0,), "softsign": (0.0,), "hard_mish": (0.0,),
    "xielu": (0.0,),
    "sparse_plus": (-1.0, 1.0),
}  # fmt: skip


def in_part(names, quick):
    """Mark all but the quick ones slow: each takes seconds, of tracing and compiling."""
    assert {*quick} < {*names}
    return [name if name in quick else pytest.param(name, marks=SLOW) for name in names]


def points(dtype: str) -> np.ndarray:
    largest = float(np.finfo(dtype).max)
    x = np.array([0.0, *MAGNITUDES, largest], dtype)
    return np.concatenate([x, -x])


def true_second(name: str, x: float, dtype: str) -> float:
    """Compute it from the textbook form's first derivative, by a difference of 120 digits."""
    block = CATALOGUE[name].spec
    with mpmath.workdps(120):
        numbers = [mpmath.mpf(float(np.dtype(dtype).type(p))) for p in block.parameters.values()]
        h = max(abs(mpmath.mpf(x)), mpmath.mpf(10) ** -31) * mpmath.mpf(10) ** -18

        def first(v):
            return Dual.of(block.exact(MPMATH, Dual(v, 1), *numbers)).slope

        return float((first(mpmath.mpf(x) + h) - first(mpmath.mpf(x) - h)) / (2 * h))


def by_jax(f, x):
    with jax.enable_x64(x.dtype == np.float64):
        return np.asarray(jax.vmap(jax.grad(jax.grad(f)))(jnp.asarray(x)))


def by_torch(f, x):
    tensor = torch.tensor(x, requires_grad=True)
    (first,) = torch.autograd.grad(f(tensor).sum(), tensor, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), tensor)
    return second.numpy()


WAYS = {"jax": by_jax, "torch": by_torch}
BOTH = [pytest.param("jax", marks=needs_jax), pytest.param("torch", marks=needs_torch)]
INSTALLED = [WAYS[name] for name, library in (("jax", jax), ("torch", torch)) if library]
needs_either = pytest.mark.skipif(not INSTALLED, reason="neither jax nor torch is installed")


@pytest.mark.parametrize(("precision", "digits"), [("float32", 1e-6), pytest.param("float64", 1e-11, marks=SLOW)])
@pytest.mark.parametrize("name", CATALOGUE)
@needs_either
def test_second_derivatives_are_those_of_the_textbook_form(name, precision, digits):
    """At infinities they are finite, save that of the exponential function, and NaN of NaN."""
    f, x = getattr(rectifier, name), points(precision)
    smooth = ~np.isin(x, [*(kink for kink, _ in f.spec.kinks), *BENDS.get(name, ())])
    smooth &= (name != "snake") | (np.abs(x) < 1e20)  # a step of the difference is more than a turn there
    truth = np.array([true_second(name, v, precision) for v in x.tolist()])
    given = np.concatenate([x, np.array([-np.inf, np.inf, np.nan], precision)])  # one array: a shape costs JAX a second
    with np.errstate(over="ignore"):
        beyond = np.isinf(np.exp(given[:-1])) & (name == "exponential")
    for way in INSTALLED:
        second = way(f, given)
        assert second.dtype == precision
        assert np.array_equal(np.isposinf(second[:-1]), beyond)
        assert np.isfinite(second[:-1][~beyond]).all(), given[:-1][~np.isfinite(second[:-1])]
        assert np.isnan(second[-1])
        with np.errstate(invalid="ignore"):
            near = np.abs(second[: x.size] - truth) <= digits * np.abs(truth) + 2.0**-52
        near |= beyond[: x.size]
        wrong = smooth & ~near
        assert not wrong.any(), (x[wrong], second[: x.size][wrong], truth[wrong])
    assert smooth.sum() >= 22


@pytest.mark.parametrize("way", BOTH)
def test_tails_keep_their_digits_on_the_left(way):
    """There the second derivative is as small as the first: e^x for elu, (x + 2) e^x for silu."""
    x = np.array([-50.0, -300.0, -600.0])
    np.testing.assert_allclose(WAYS[way](rectifier.elu, x), np.exp(x), rtol=1e-13)
    np.testing.assert_allclose(WAYS[way](rectifier.silu, x), (x + 2) * np.exp(x), rtol=1e-13)


@pytest.mark.parametrize("way", BOTH)
def test_a_first_derivative_of_0_does_not_stop_the_second(way):
    assert WAYS[way](rectifier.hard_swish, np.array([-1.5], "f4")) == np.float32(1 / 3)


def seconds(name, x, gate):
    """Give the derivatives by x twice, and by x and gate, of the textbook form."""
    spec = GATES[name].spec
    with mpmath.workdps(60):
        h, x, gate = mpmath.mpf(10) ** -20, mpmath.mpf(x), mpmath.mpf(gate)

        def first(a, g):
            numbers = [Dual(mpmath.mpf(value), 0) for value in spec.parameters.values()]
            return Dual.of(spec.exact(MPMATH, Dual(a, 1), Dual(g, 0), *numbers)).slope

        by_x = first(x + h, gate) - first(x - h, gate)
        by_gate = first(x, gate + h) - first(x, gate - h)
        return float(by_x / (2 * h)), float(by_gate / (2 * h))


@pytest.mark.parametrize("name", in_part(GATES, ("glu", "prelu")))
@needs_either
def test_hessians_of_two_arrays(name):
    """Also where the first derivative by one is 0, as the other is: there the mixed ones are not."""
    f = getattr(rectifier, name)
    x, gate = np.array([-1.5, 0.7, -0.2, 0.0]), np.array([0.3, 1.2, -2.0, 0.4])
    if name == "prelu":
        x, gate = np.array([-1.5, 0.7, -0.2, -3.0]), np.array([0.3, 1.2, -2.0, 0.0])
    pairs = zip(x.tolist(), gate.tolist(), strict=True)
    by_x, mixed = zip(*(seconds(name, *pair) for pair in pairs), strict=True)
    found = []
    if torch:
        hessian = torch.func.hessian(lambda a, b: f(a, b).sum(), argnums=(0, 1))
        found.append(hessian(torch.tensor(x), torch.tensor(gate)))
    if jax:
        with jax.enable_x64(True):
            hessian = jax.jit(jax.hessian(lambda a, b: f(a, b).sum(), argnums=(0, 1)))
            found.append(hessian(jnp.asarray(x), jnp.asarray(gate)))
    for (xx, xg), (gx, gg) in found:
        np.testing.assert_allclose(np.diag(np.asarray(xg)), mixed, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(np.asarray(gx), np.asarray(xg).T, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(np.diag(np.asarray(xx)), by_x, rtol=1e-12, atol=1e-15)
        assert np.isfinite(np.asarray(gg)).all()
        np.testing.assert_allclose(np.asarray(gg), np.asarray(found[0][1][1]), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("name", in_part(ROWWISE, ("softmax",)))
def test_hessians_of_rows(name, way):
    f, rng = getattr(rectifier, name), np.random.default_rng(0)
    x, w = rng.standard_normal((2, 5))
    # By hand, of sum(w softmax(x)) and sum(w log_softmax(x)).
    y = np.exp(-x if f.spec.negated else x)
    y /= y.sum()
    s = w @ y
    expected = {
        "softmax": np.diag(y * (w - s)) - np.outer(y, y) * (w[:, None] + w - 2 * s),
        "softmin": np.diag(y * (w - s)) - np.outer(y, y) * (w[:, None] + w - 2 * s),
        "log_softmax": w.sum() * (np.outer(y, y) - np.diag(y)),
        "hardmax": np.zeros((5, 5)),
        "sparsemax": np.zeros((5, 5)),
    }[name]
    if way == "torch":
        tensor = torch.tensor(w)
        found = torch.func.hessian(lambda v: (f(v) * tensor).sum())(torch.tensor(x))
        np.testing.assert_allclose(found, expected, atol=1e-15)
        return
    with jax.enable_x64(True):
        for hessian in (jax.hessian, lambda g: jax.jacrev(jax.jacrev(g))):
            np.testing.assert_allclose(hessian(lambda v: (f(v) * w).sum())(jnp.asarray(x)), expected, atol=1e-15)


@pytest.mark.parametrize("name", in_part((*CATALOGUE, *GATES, *ROWWISE), ("elu", "gelu", "glu", "softmax")))
@needs_torch
def test_pytorch_checks_both_derivatives(name):
    f = getattr(rectifier, name)
    x = torch.tensor([[-2.3, -0.7, 0.2, 0.8, 1.7]], dtype=torch.float64, requires_grad=True)  # at no bend
    gate = torch.tensor([[0.6, -1.3, 0.4, -0.3, 2.1]], dtype=torch.float64, requires_grad=True)
    inputs = (x, gate) if name in GATES else (x,)
    slow_but_wide = name in ROWWISE
    assert torch.autograd.gradcheck(f, inputs, fast_mode=not slow_but_wide, check_forward_ad=slow_but_wide)
    assert torch.autograd.gradgradcheck(f, inputs, fast_mode=not slow_but_wide)
    for parameter, default in getattr(f, "spec", None).parameters.items() if name in CATALOGUE else ():
        assert torch.autograd.gradgradcheck(
            lambda v, parameter=parameter, value=default * 1.3: f(v, **{parameter: value}), (x,), fast_mode=True
        )


@needs_torch
def test_forward_mode_of_pytorch_keeps_the_tangent():
    x = torch.tensor([-1.0, 0.5, 1000.0])
    for f in (rectifier.gelu, rectifier.elu, rectifier.relu):
        expected = f.derivative(x.numpy())
        np.testing.assert_allclose(torch.func.jvp(f, (x,), (torch.ones(3),))[1], expected, rtol=1e-6)
        with torch.no_grad(), torch.autograd.forward_ad.dual_level():
            y = f(torch.autograd.forward_ad.make_dual(x, torch.ones(3)))
            np.testing.assert_allclose(torch.autograd.forward_ad.unpack_dual(y).tangent, expected, rtol=1e-6)
    with pytest.raises(TypeError, match="elu has no derivative by alpha"):
        torch.func.jvp(lambda alpha: rectifier.elu(x, alpha=alpha), (torch.tensor(2.0),), (torch.tensor(1.0),))


@needs_jax
def test_a_third_derivative_and_a_value_beside_a_derivative():
    third = jax.grad(jax.grad(jax.grad(rectifier.tanh)))(0.0)  # of which the second is 0
    np.testing.assert_allclose(third, -2, rtol=1e-6)
    both = jax.grad(lambda x: sum(jax.value_and_grad(rectifier.elu)(x)))(1000.0)  # 1 + 0
    assert both == 1


@needs_torch
def test_empty_rows_of_pytorch_have_a_gradient():
    x = torch.empty((3, 0), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(rectifier.softmax(x).sum(), x)
    assert gradient.shape == (3, 0)
