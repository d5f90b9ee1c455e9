"""Arrays of JAX, of PyTorch and of the array API standard: their own type, our values, our rule for gradients."""

from __future__ import annotations

import numpy as np
import pytest

import rectifier
from conftest import assert_same, needs, numbers, optional
from rectifier import gelu, glu, leaky_relu, log_softmax, prelu, relu, silu, softmax, swiglu, tanh
from rectifier.backends import array_api
from rectifier.catalogue import ALL, CATALOGUE, REDUCTIONS, ROWWISE
from rectifier.formulas import PRIMITIVES, called_by
from rectifier.functions import specification
from rectifier.functions.call import Call
from rectifier.testing import special_values

strict, jax, torch = (optional(name) for name in ("array_api_strict", "jax", "torch"))
jnp = optional("jax.numpy") if jax else None
needs_strict, needs_jax, needs_torch = (needs(name) for name in ("array_api_strict", "jax", "torch"))

GATED = [name for name in ALL if name not in CATALOGUE and hasattr(ALL[name], "gradient")]
ROWS = [*ROWWISE]
assert len(CATALOGUE) >= 20
assert GATED
assert ROWS


def with_gradient(call):
    """Have PyTorch go through the formula: a tensor that wants a gradient has no numbers for NumPy."""
    return lambda *tensors: call(*(tensor.requires_grad_() for tensor in tensors)).detach()


WAYS = {  # how a library is called: its arrays of NumPy's, the call made, NumPy's of its arrays
    "strict": (lambda x: strict.asarray(x), lambda call: call, np.from_dlpack),
    "jax": (lambda x: jnp.asarray(x), lambda call: call, np.asarray),
    "jit": (lambda x: jnp.asarray(x), lambda call: jax.jit(call), np.asarray),
    "torch": (lambda x: torch.tensor(x), lambda call: call, lambda tensor: tensor.numpy()),
    "torch-grad": (lambda x: torch.tensor(x), with_gradient, lambda tensor: tensor.numpy()),
}
TRACED = ("jit", "torch-grad")  # ways in which a library sees the formula, and compiles it or differentiates
NEEDS = {"strict": needs_strict, "jax": needs_jax, "jit": needs_jax, "torch": needs_torch, "torch-grad": needs_torch}


def ways(*names):
    """Parametrise over ways to call a library, or over all; those are skipped whose library is not installed."""
    return pytest.mark.parametrize("way", [pytest.param(name, marks=NEEDS[name]) for name in names or WAYS])


def primitives_of(block):
    """List the primitives that the formulas of a block use, and those that they call."""
    formulas, found = [block.value, block.derivative], set()
    for formula in formulas:
        found |= set(formula.__code__.co_names) & set(PRIMITIVES)
        formulas += [called for called in called_by(formula).values() if called not in formulas]
    return found


def some_functions():
    """Choose functions that use every primitive between them: each is the one that adds the most."""
    rest = set.union(*(primitives_of(f.spec) for f in CATALOGUE.values()))
    assert len(rest) > 8
    while rest:
        name = max(CATALOGUE, key=lambda name: len(rest & primitives_of(CATALOGUE[name].spec)))
        yield name
        rest -= primitives_of(CATALOGUE[name].spec)


SOME = ["relu", "leaky_relu", *some_functions()]  # which select, and have a parameter
EVERY = [pytest.param(name, marks=() if name in SOME else pytest.mark.slow) for name in CATALOGUE]


def functions_and_ways():
    """Parametrise over all functions where a library computes at once, and over some where it compiles."""
    return pytest.mark.parametrize(
        ("name", "way"),
        [
            pytest.param(
                name, way, marks=[NEEDS[way], *([pytest.mark.slow] if way in TRACED and name not in SOME else [])]
            )
            for way in WAYS
            for name in CATALOGUE
        ],
    )


def test_some_functions_use_every_primitive():
    used = {name: primitives_of(f.spec) for name, f in CATALOGUE.items()}
    assert set.union(*used.values()) == set.union(*(used[name] for name in SOME))
    assert {"where", "exp_parts", "expm1_parts", "log1p_parts", "normal_tail", "fma"} <= set.union(*used.values())
    assert len(SOME) < len(CATALOGUE) / 2


X = np.concatenate([special_values(np.dtype("f4")), numbers(2000, np.dtype("f4"))])
X = X[(np.abs(X) >= np.finfo("f4").tiny) | (X == 0) | np.isnan(X)]  # XLA takes subnormal numbers for 0


def assert_near(actual, expected, block):
    """Assert the contract: the very bits if the block selects or rounds once, else the next number at most.

    Kernels compute some functions in float32, within a unit, their gradients within two and a half; libraries do not.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if not block.wide and max(block.ulp) <= 0.5 and "fma" not in block.value.__code__.co_names:
        small = (expected != 0) & (np.abs(expected) < np.finfo("f4").tiny)  # XLA flushes these
        assert_same(np.where(small, 0, actual).astype("f4"), np.where(small, 0, expected).astype("f4"))
        return
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    assert (np.abs(actual[expected == 0]) < np.finfo("f4").tiny).all()
    far = np.isfinite(expected) & (np.abs(expected) >= np.finfo("f4").tiny)
    assert np.array_equal(actual[np.isinf(expected)], expected[np.isinf(expected)])
    error = np.abs(actual[far].astype("f8") - expected[far]) / np.spacing(np.abs(expected[far]))
    assert error.max(initial=0) <= (3 if block.single else 1)


@functions_and_ways()
def test_values_derivatives_and_gradients_are_those_of_the_engine(name, way):
    f, (take, made, give) = getattr(rectifier, name), WAYS[way]
    dy = np.where(np.isfinite(X), X, np.float32(1))[::-1].copy()
    x = take(X)
    y = made(f)(x)
    assert type(y) is type(take(X))
    assert_near(give(y), f(X), f.spec)
    assert_near(give(made(f.derivative)(take(X))), f.derivative(X), f.spec)
    with np.errstate(all="ignore"):
        assert_near(give(made(f.backward)(take(dy), take(X))), f.backward(dy, X), f.spec)


@functions_and_ways()
def test_special_values_are_those_of_the_contract(name, way):
    f, (take, made, give) = getattr(rectifier, name), WAYS[way]
    x, y = np.array(f.spec.special, "f4").T
    assert_same(give(made(f)(take(np.tile(x, 5))))[: len(y)], y)


@ways()
@pytest.mark.parametrize("name", GATED)
def test_functions_of_two_arrays(name, way):
    f, (take, made, give) = getattr(rectifier, name), WAYS[way]
    x, gate = np.random.default_rng(0).standard_normal((2, 6, 10)).astype("f4")
    np.testing.assert_allclose(give(made(lambda a, b: f(a, b))(take(x), take(gate))), f(x, gate), rtol=3e-7, atol=1e-37)
    for other in (gate, gate[0], gate[:, :1]):
        expected = f.backward(x, x, other)
        if way != "torch-grad":
            results = made(lambda dy, a, b: f.backward(dy, a, b))(take(x), take(x), take(other))
            for array, right in zip(results, expected, strict=True):
                np.testing.assert_allclose(give(array), right, rtol=2e-5, atol=1e-6)
                assert give(array).shape == right.shape


@ways()
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", ROWS)
def test_row_wise_functions(name, axis, way):
    f, (take, made, give) = getattr(rectifier, name), WAYS[way]
    x, dy = 3 * np.random.default_rng(0).standard_normal((2, 6, 10)).astype("f4")
    x[1, 2], x[2, 3], x[3, :], x[4, 4], x[5, 5] = np.inf, np.nan, -np.inf, -np.inf, 80
    x[0, :2] = 9  # two are the largest
    y = f(x, axis=axis)
    np.testing.assert_allclose(give(made(lambda x: f(x, axis=axis))(take(x))), y, rtol=3e-7, atol=1e-37)
    result = give(made(lambda dy, y: f.backward(dy, y=y, axis=axis))(take(dy), take(y)))
    np.testing.assert_allclose(result, f.backward(dy, y=y, axis=axis), rtol=1e-5, atol=1e-6)


@ways()
@pytest.mark.parametrize("name", ROWS)
def test_rows_along_several_axes_and_of_no_dimension(name, way):
    f, (take, made, give) = getattr(rectifier, name), WAYS[way]
    x, dy = 3 * np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("f4")
    for axis in (None, (2, 0), (0, 1), (-2,), ()):
        y = f(x, axis=axis)
        np.testing.assert_allclose(give(made(lambda x: f(x, axis=axis))(take(x))), y, rtol=3e-7, atol=1e-37)  # noqa: B023
        result = give(made(lambda dy, y: f.backward(dy, y=y, axis=axis))(take(dy), take(y)))  # noqa: B023
        np.testing.assert_allclose(result, f.backward(dy, y=y, axis=axis), rtol=1e-5, atol=1e-6)
    for axis in (0, -1, None, ()):
        of_infinity = 1.0 if name == "hardmax" else np.nan
        for number, one in ((3.0, float(name != "log_softmax")), (np.nan, np.nan), (-np.inf, of_infinity)):
            y = give(made(lambda x: f(x, axis=axis))(take(np.float32(number))))  # noqa: B023
            assert_same(np.asarray(y), np.array(one, "f4"))
    if way in ("strict", "torch"):
        dx = np.asarray(give(f.backward(2.0, take(np.float32(3)))))
        assert (dx.dtype, dx.shape) == (np.float32, ())
        assert abs(dx) <= 2.0**-24  # half a unit of dy: exp(0) is within its bound of 1, in float32


@ways()
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, way):
    f, (take, made, give) = getattr(rectifier, name), WAYS[way]
    x = 3 * np.random.default_rng(0).standard_normal((3, 4, 5)).astype("f4")
    x[0, 1, 2], x[1, 2, 3], x[2, :, 4], x[2, 0] = np.inf, np.nan, -np.inf, 7
    where = np.random.default_rng(1).random((3, 4, 5)) < 0.6
    where[0, 0], where[1] = False, True
    for axis in (-1, 0, (0, 2), None, ()):
        for keepdims, counts in ((False, None), (True, where), (False, where[0])):
            given = {"axis": axis, "keepdims": keepdims}
            there = given | {"where": None if counts is None else take(counts)}
            y = np.asarray(f(x, where=counts, **given))
            dy = np.arange(1, y.size + 1, dtype="f4").reshape(y.shape)
            result = give(made(lambda x: f(x, **there))(take(x)))  # noqa: B023
            assert np.shape(result) == y.shape
            np.testing.assert_allclose(result, y, rtol=3e-7)
            dx = give(made(lambda dy, x: f.backward(dy, x, **there))(take(dy), take(x)))  # noqa: B023
            np.testing.assert_allclose(dx, f.backward(dy, x, where=counts, **given), rtol=1e-6, atol=1e-30)
    assert give(made(f)(take(np.empty((2, 0), "f4")))).tolist() == [-np.inf, -np.inf]


@needs_torch
@needs_jax
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # forward mode's
def test_reductions_are_differentiated():
    x, w = np.random.default_rng(0).standard_normal((2, 3, 40))
    dx = rectifier.logsumexp.backward(w[:, 0], x)
    y = rectifier.softmax(x)
    tensor = torch.tensor(x, requires_grad=True)
    (found,) = torch.autograd.grad((rectifier.logsumexp(tensor) * torch.tensor(w[:, 0])).sum(), tensor)
    np.testing.assert_allclose(found, dx, rtol=1e-13)
    _, tangent = torch.func.jvp(rectifier.logsumexp, (torch.tensor(x),), (torch.tensor(w),))
    np.testing.assert_allclose(tangent, (y * w).sum(axis=-1), rtol=1e-12)
    hessian = np.diag(y[0]) - np.outer(y[0], y[0])
    np.testing.assert_allclose(torch.func.hessian(rectifier.logsumexp)(torch.tensor(x[0])), hessian, atol=1e-15)
    with jax.enable_x64(True):
        found = jax.grad(lambda x: (rectifier.logsumexp(x) * w[:, 0]).sum())(jnp.asarray(x))
        np.testing.assert_allclose(found, dx, rtol=1e-13)
        np.testing.assert_allclose(jax.hessian(rectifier.logsumexp)(jnp.asarray(x[0])), hessian, atol=1e-15)


@needs_strict
def test_numbers_are_made_where_the_arrays_are():
    """Of a library with settings, by `full_like`, which alone has them from an array; the stand-in counts the rest."""

    class Library(array_api.library.Library):
        def is_plain(self, array):
            return False

    class Namespace:
        def __getattr__(self, name):
            assert name not in ("asarray", "full", "zeros", "ones"), name
            return getattr(strict, name)

    library = Library(Namespace(), type(strict.ones(())))
    for shape in ((), (3,), (2, 0), (2, 3, 4)):
        x = np.ones(shape, "f4")
        like = strict.asarray(x)
        number = library.number(0.1, "float64", like)
        assert number.dtype == strict.float64
        assert number.size <= 1
        assert np.broadcast_shapes(number.shape, shape) == shape
        for f in (relu, silu, softmax):
            block = f.spec
            if f is softmax:
                y = array_api.calls._rows(
                    library, Call(f, specification.ROWS, {"x": like}, {}, axis=-1 if shape else None)
                )
            else:
                y = array_api.formula.compute_formula(library, block, specification.VALUE, "float32", (like,), shape)
            np.testing.assert_allclose(np.from_dlpack(y), f(x), rtol=1e-6)


@ways("jax", "torch")
@pytest.mark.parametrize("name", EVERY)
def test_jax_and_pytorch_differentiate_by_our_rule(name, way):
    f = getattr(rectifier, name)
    kinks = [kink for kink, _ in f.spec.kinks]
    x = np.concatenate([np.array([*kinks, -np.inf, np.inf, np.nan, 0.0, -0.0], "f4"), X[:200]])
    if f.spec.wide:  # an infinite dy passes where the engine, in float64, has a derivative that float32 does not hold
        x = x[f.derivative(x) != 0]
    dy = np.repeat(np.array([1.0, np.inf], "f4"), len(x))  # where f' is 0, nothing passes
    x = np.tile(x, 2)
    expected = f.backward(dy, x)
    if way == "jax":
        assert_near(jax.vjp(jax.jit(f), jnp.asarray(x))[1](jnp.asarray(dy))[0], expected, f.spec)
        assert_near(jax.jvp(f, (jnp.asarray(x),), (jnp.asarray(dy),))[1], expected, f.spec)
        return
    tensor = torch.tensor(x, requires_grad=True)
    f(tensor).backward(torch.tensor(dy))
    assert_near(tensor.grad.numpy(), expected, f.spec)


@needs_jax
def test_transformations_of_jax():
    x = jnp.asarray(np.linspace(-3, 3, 12, dtype="f4").reshape(3, 4))
    for f in (silu, softmax, lambda a: leaky_relu(a, negative_slope=0.3)):
        expected = f(np.asarray(x))
        for made in (jax.vmap(f), jax.jit(jax.vmap(f)), jax.checkpoint(f)):
            np.testing.assert_allclose(made(x), expected, rtol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(lambda row: gelu(row).sum()))(x), gelu.derivative(np.asarray(x)), rtol=1e-6
    )
    second = jax.vmap(jax.grad(jax.grad(tanh)))(x.reshape(-1))
    y = np.tanh(np.asarray(x, "f8").reshape(-1))
    np.testing.assert_allclose(second, -2 * y * (1 - y * y), rtol=1e-5, atol=1e-7)
    dx, dgate = jax.grad(lambda a, b: swiglu(a, b).sum(), argnums=(0, 1))(x, x[0])
    expected = swiglu.backward(np.ones((3, 4), "f4"), np.asarray(x), np.asarray(x[0]))
    np.testing.assert_allclose(dx, expected[0], rtol=1e-5)
    np.testing.assert_allclose(dgate, expected[1], rtol=1e-5)


@needs_jax
def test_jax_in_float64():
    x = np.linspace(-30, 30, 1001)
    with jax.enable_x64(True):
        y = jax.jit(gelu)(jnp.asarray(x))
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, gelu(x), rtol=3e-14)  # what rounding takes from an exponent is not carried


@needs_torch
def test_transformations_of_pytorch():
    x = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    gate = torch.randn(2, dtype=torch.float64, requires_grad=True)
    for f in (gelu, silu, tanh, log_softmax):
        assert torch.autograd.gradcheck(f, x)
        assert torch.autograd.gradgradcheck(f, x)
    for f in (glu, swiglu, prelu):
        assert torch.autograd.gradcheck(f, (x, gate))
    plain = x.detach().float()
    rows = torch.func.vmap(torch.func.grad(lambda row: gelu(row).sum()))(plain)
    np.testing.assert_allclose(rows, gelu.derivative(plain.numpy()), rtol=1e-6)


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # of its own graph breaks
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.slow  # its first compilation takes a minute
@needs_torch
def test_compiled_pytorch():
    x = torch.randn(3, 4, requires_grad=True)
    for f in (relu, gelu, softmax, lambda a: glu(a, a) * 2):
        y = torch.compile(f)(x)
        assert torch.equal(y, f(x))
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(gradient, torch.autograd.grad(f(x).sum(), x)[0])


@ways("jax", "torch", "strict")
def test_arrays_on_the_cpu_go_to_the_engine_without_a_copy(way, monkeypatch):
    take, _, give = WAYS[way]
    x = take(np.linspace(-1, 1, 1 << 16, dtype="f4"))
    seen, kind = [], type(array_api.calls._library({"x": x}))
    original = {name: getattr(kind, name) for name in ("to_numpy", "from_numpy")}
    for name in original:

        def spy(self, array, name=name):
            result = original[name](self, array)
            own, numbers = (result, array) if name == "from_numpy" else (array, result)
            seen.append(np.shares_memory(give(own), numbers))
            return result

        monkeypatch.setattr(kind, name, spy)
    y = relu(x)
    assert seen
    assert all(seen)
    assert_same(give(y), np.maximum(give(x), np.float32(0)))


@needs_torch
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "int8", "int32", "uint8"])
@pytest.mark.parametrize("f", [relu, gelu, softmax], ids=lambda f: f.__name__)
def test_dtypes_of_pytorch(f, name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.arange(-3, 4).astype(getattr(ml_dtypes, name, name))
    tensor = torch.arange(-3, 4).to(getattr(torch, name))
    expected = f(x)
    y = f(tensor)
    assert str(y.dtype) == f"torch.{expected.dtype.name}"
    assert_same(y.double().numpy(), expected.astype("f8"))
    if tensor.is_floating_point():
        formula = f(tensor.clone().requires_grad_()).detach()
        assert formula.dtype == y.dtype
        np.testing.assert_allclose(formula.double(), y.double(), rtol=2.0**-7)


@needs_jax
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "int8", "int32", "uint8"])
def test_dtypes_of_jax(name):
    x = jnp.arange(-3, 4).astype(name)
    for made in (relu, jax.jit(relu)):
        assert made(x).dtype == x.dtype
        np.testing.assert_array_equal(np.asarray(made(x), "f8"), np.maximum(np.asarray(x, "f8"), 0))
    for made in (gelu, jax.jit(gelu)):
        expected = gelu(np.asarray(x)).dtype
        assert made(x).dtype == (np.float32 if expected == np.float64 else expected)


@ways("jax", "torch")
def test_what_cannot_be_is_refused(way):
    x = WAYS[way][0](np.ones(3, "f4"))
    with pytest.raises(TypeError, match="assign the result"):
        relu(x, out=x)
    with pytest.raises(TypeError, match="use vjp"):
        relu.with_mask(x)
    with pytest.raises(ValueError, match="shapes do not broadcast"):
        relu.backward(x, x[:2])
    with pytest.raises(ValueError, match="axis 1 is out of bounds"):
        softmax(x, axis=1)
    with pytest.raises(TypeError, match="masks are for arrays of NumPy"):
        relu.backward(x, mask=relu.with_mask(np.ones(3))[1])
    _, pullback = relu.vjp(x)
    assert_same(np.asarray(pullback(x)), np.ones(3, "f4"))
    for wrong in (x > 0, WAYS[way][0](np.ones(3, "c8"))):
        with pytest.raises(TypeError, match="it takes integers and float16 to float64"):
            relu(wrong)


@needs_jax
def test_arrays_of_numpy_beside_those_of_jax_become_those_of_jax():
    assert_same(np.asarray(relu.backward(np.ones(3, "f4"), jnp.ones(3))), np.ones(3, "f4"))  # as in JAX's own functions


@needs_torch
@pytest.mark.parametrize("other", ["numpy", pytest.param("jax", marks=needs_jax)])
def test_arrays_of_others_beside_those_of_pytorch_are_refused(other):
    tensor, array = torch.ones(3), np.ones(3) if other == "numpy" else jnp.ones(3)
    with pytest.raises(TypeError, match="it takes those and numbers"):
        relu.backward(array, tensor)
    with pytest.raises(TypeError, match="it takes those and numbers"):
        leaky_relu(tensor, negative_slope=array)


@needs_torch
def test_a_gradient_of_pytorch_by_a_parameter_is_refused_and_never_0():
    slope = torch.tensor(0.5, requires_grad=True)
    with pytest.raises(TypeError, match="leaky_relu has no derivative by negative_slope; prelu"):
        leaky_relu(torch.ones(3), negative_slope=slope)
    x = torch.tensor([-2.0, 2.0], requires_grad=True)
    leaky_relu(x, negative_slope=slope.detach()).sum().backward()
    assert x.grad.tolist() == [0.5, 1.0]


@needs_jax
def test_a_gradient_of_jax_by_a_parameter_is_refused_and_never_0():
    with pytest.raises(TypeError, match="leaky_relu has no derivative by negative_slope; prelu"):
        jax.grad(lambda slope: leaky_relu(jnp.ones(3), negative_slope=slope).sum())(0.5)
    dx = jax.grad(lambda x: leaky_relu(x, negative_slope=jnp.float32(0.5)).sum())(jnp.asarray([-2.0, 2.0]))
    assert dx.tolist() == [0.5, 1]


@pytest.mark.parametrize("name", ROWS)
def test_jax_differentiates_rows_of_any_length(name):
    jax = pytest.importorskip("jax")
    f = getattr(rectifier, name)
    for length in (1, 8, 9, 300):
        x, w = np.random.default_rng(length).standard_normal((2, 3, length)).astype("f4")
        dx = jax.grad(lambda x: (f(x) * w).sum())(jax.numpy.asarray(x))  # noqa: B023
        np.testing.assert_allclose(dx, f.backward(w, x), rtol=1e-5, atol=1e-6)


def test_gradients_of_traced_arrays_are_summed_in_float64():
    """In float32 1e8 + 1 - 1e8 is 0, in whatever order but one."""
    dy, x = np.array([1e8, 1, -1e8] * 5, "f4"), -np.ones(15, "f4")
    if jax := optional("jax"):
        slope = jax.jit(jax.grad(lambda slope: (prelu(x, slope) * dy).sum()))(jax.numpy.float32(0.25))
        assert slope == -5
        _, slope = jax.jit(prelu.backward)(dy, x, jax.numpy.float32(0.25))
        assert slope == -5
    if torch := optional("torch"):
        slope = torch.tensor(0.25, requires_grad=True)
        (prelu(torch.from_numpy(x), slope) * torch.from_numpy(dy)).sum().backward()
        assert slope.grad == -5


def test_small_integers_become_float32_where_a_library_lacks_float16():
    xp = pytest.importorskip("array_api_strict")  # NumPy makes float16 of int8
    numbers = np.arange(-4, 4, dtype="i1")
    x, right = xp.asarray(numbers), numbers.astype("f4")
    for name, made, expected in (
        ("value", gelu(x), gelu(right)),
        ("derivative", gelu.derivative(x), gelu.derivative(right)),
        ("backward", gelu.backward(x, x), gelu.backward(right, right)),
        ("rows", softmax(x), softmax(right)),
        ("gradients", swiglu.backward(x, x, x)[1], swiglu.backward(right, right, right)[1]),
    ):
        assert made.dtype == xp.float32, name
        assert np.array_equal(np.from_dlpack(made), expected), name
    assert relu(x).dtype == xp.int8


def test_small_integers_become_float16_where_a_library_has_it():
    torch = pytest.importorskip("torch")
    numbers = np.arange(-4, 4, dtype="i1")
    x = torch.from_numpy(numbers)
    for f in (gelu, softmax):
        assert f(x).dtype == torch.float16
        assert np.array_equal(f(x).numpy(), f(numbers))
    traced = torch.func.vmap(gelu)(x)
    assert traced.dtype == torch.float16


def test_a_wrong_parameter_is_named_as_beside_numpy_arrays():
    xp = pytest.importorskip("array_api_strict")
    x = xp.asarray([1.0])
    for wrong, text in (
        (True, "has dtype bool"),
        (None, "NumPy sees no numbers in a NoneType"),
        ("a", "has dtype <U1"),
    ):
        with pytest.raises(TypeError, match=f"leaky_relu: negative_slope.*{text}"):
            leaky_relu(x, negative_slope=wrong)
