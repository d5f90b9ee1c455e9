"""Packed arrays: each call gives the bits of the call on the halves, and writes where it should and nowhere else."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from conftest import BACKENDS, FLOATS, assert_same, numbers
from rectifier import clamped_swiglu, gated, memory, swiglu
from rectifier.catalogue import GATES
from rectifier.testing import dtype_of

ORDERS = ("gate_first", "gate_last", "interleaved")
SHAPES = ((6, 10, 8), (2, 1, 4), (4, 0, 2), (8, 2, 34))
each = pytest.mark.parametrize(
    "function", [pytest.param(getattr(BACKENDS[b], n), id=f"{n}-{b}") for n in GATES for b in BACKENDS]
)


def halves(a, order, axis):
    """Return x and the gate, by another way than the library's."""
    moved = np.moveaxis(a, axis, -1)
    if order == "interleaved":
        pairs = moved.reshape(*moved.shape[:-1], moved.shape[-1] // 2, 2)
        parts = pairs[..., 1], pairs[..., 0]
    else:
        parts = np.split(moved, 2, axis=-1)[:: -1 if order == "gate_first" else 1]
    return [np.moveaxis(part, -1, axis) for part in parts]


def packed(x, gate, order, axis):
    """Pack two arrays, by another way than the library's."""
    x, gate = (np.moveaxis(part, axis, -1) for part in (x, gate))
    if order == "interleaved":
        whole = np.stack([gate, x], axis=-1).reshape(*x.shape[:-1], 2 * x.shape[-1])
    else:
        whole = np.concatenate([gate, x] if order == "gate_first" else [x, gate], axis=-1)
    return np.moveaxis(whole, -1, axis)


@each
@pytest.mark.parametrize("order", ORDERS)
def test_a_call_gives_what_it_gives_of_the_halves(function, order):
    compared = 0
    for shape in SHAPES:
        for axis in (-1, 1, 0) if shape[1] % 2 == 0 else (-1, 0):
            for dtype in map(dtype_of, FLOATS if shape == SHAPES[0] and axis == -1 else ("float32",)):
                a = numbers(np.prod(shape), dtype).reshape(shape)
                x, gate = halves(a, order, axis)
                dy = numbers(x.size, dtype, 1).reshape(x.shape)
                y, da = (
                    function.packed(a, order=order, axis=axis),
                    function.packed.backward(dy, a, order=order, axis=axis),
                )
                assert_same(y, function(x.copy(), gate.copy()))
                assert_same(da, packed(*function.backward(dy, x.copy(), gate.copy()), order, axis))
                compared += y.size > 0
    assert compared >= 6


@each
@pytest.mark.parametrize("order", ORDERS)
def test_the_gradient_may_be_written_over_the_array_and_the_value_over_a_half(function, order):
    a = numbers(6 * 140, np.dtype("f4")).reshape(6, 140)
    x, gate = (half.copy() for half in halves(a, order, -1))
    dy = numbers(x.size, x.dtype, 1).reshape(x.shape)
    expected = packed(*function.backward(dy, x, gate), order, -1)
    room = np.full((8, 140), 7, "f4")
    assert function.packed.backward(dy, a, order=order, out=room[1:7]) is not None
    assert_same(room[1:7], expected)
    assert (room[[0, 7]] == 7).all()
    there = a.copy()
    assert function.packed.backward(dy, there, order=order, out=there) is there
    assert_same(there, expected)
    for half in range(2):
        there = a.copy()
        out = halves(there, order, -1)[half]
        other = halves(there, order, -1)[1 - half].copy()
        assert function.packed(there, order=order, out=out) is out
        assert_same(out, function(x, gate))
        assert_same(halves(there, order, -1)[1 - half], other)


@pytest.mark.parametrize("package", BACKENDS.values(), ids=[*BACKENDS])
def test_lists_integers_other_dtypes_and_byte_orders(package):
    function, a = package.swiglu, np.array([[1, 2, 3, 4], [-1, 0, 5, -6]])
    expected = function(a[:, :2], a[:, 2:])
    assert expected.dtype == np.float64
    for given in (a, a.tolist(), a.astype(">f8"), np.asfortranarray(a)):
        assert_same(function.packed(given, order="gate_last"), expected)
        da = function.packed.backward([[1.0, 2.0]], given, order="gate_last")
        assert_same(da, np.hstack(function.backward(np.array([[1.0, 2.0]] * 2), a[:, :2], a[:, 2:])))
        assert da.dtype.isnative
    mixed = function.packed.backward(np.ones((2, 2)), a.astype("f4"), order="gate_last")
    assert mixed.dtype == np.float64
    swapped = np.empty((2, 4), ">f8")
    assert function.packed.backward(np.ones((2, 2)), a, order="gate_last", out=swapped) is swapped
    assert_same(swapped.astype("f8"), function.packed.backward(np.ones((2, 2)), a, order="gate_last"))


@pytest.mark.parametrize("package", BACKENDS.values(), ids=[*BACKENDS])
def test_parameters_are_those_of_the_function(package):
    function, a = package.clamped_swiglu, numbers(40, np.dtype("f4")).reshape(4, 10)
    x, gate = halves(a, "interleaved", -1)
    for given in ({"limit": 10.0, "alpha": 1.0, "offset": 0.0}, {"offset": np.linspace(0, 1, 5, dtype="f4")}):
        assert_same(function.packed(a, order="interleaved", **given), function(x, gate, **given))
        both = function.backward(x, x, gate, **given)
        assert_same(function.packed.backward(x, a, order="interleaved", **given), packed(*both, "interleaved", -1))


@pytest.mark.parametrize("package", BACKENDS.values(), ids=[*BACKENDS])
def test_masked_arrays_hide_the_value_and_are_refused_by_the_gradient(package):
    a = np.ma.array(np.arange(8.0), mask=[1, 0, 0, 0, 0, 0, 1, 0])
    y = package.swiglu.packed(a, order="gate_first")
    assert y.mask.tolist() == [True, False, True, False]
    for dy, given in ((np.ones(4), a), (np.ma.ones(4), a.filled(0))):
        with pytest.raises(
            TypeError, match=r"^swiglu\.packed\.backward: (a|dy) hides elements, .* call swiglu\.backward"
        ):
            package.swiglu.packed.backward(dy, given, order="gate_first")


A = np.ones((4, 6), "f4")
WRONG = {
    "no order": (A, {}, TypeError, "keyword-only argument: 'order'"),
    "no such order": (A, {"order": "first"}, ValueError, "order is 'first'; it takes 'gate_first',"),
    "an order that is no string": (A, {"order": 0}, TypeError, "order is 0; it takes"),
    "an order that has no hash": (A, {"order": []}, TypeError, r"order is \[\]; it takes"),
    "an odd length": (A[:, :5], {"order": "gate_first"}, ValueError, "a has 5 elements along axis 1; two halves"),
    "an odd length of pairs": (A[:3], {"order": "interleaved", "axis": 0}, ValueError, "a has 3 elements along axis 0"),
    "no such axis": (A, {"order": "gate_last", "axis": 2}, ValueError, "axis 2 is out of bounds for an array of 2"),
    "no axis": (A, {"order": "gate_last", "axis": None}, TypeError, "axis is None; it takes an integer"),
    "a number": (1.0, {"order": "gate_last"}, ValueError, "axis -1 is out of bounds for an array of 0 dimensions"),
    "bool": (A > 0, {"order": "gate_last"}, TypeError, "a has dtype bool"),
    "a wrong parameter": (A, {"order": "gate_last", "limit": "x"}, TypeError, "limit has dtype"),
}
OUTS = {
    "another shape": (lambda: np.full((4, 5), 7, "f4"), ValueError, r"out has shape \(4, 5\)"),
    "another dtype": (lambda: np.full((4, 6), 7), TypeError, "out has dtype int64"),
    "a list": (lambda: [7], TypeError, "out is a list"),
    "two arrays": (lambda: (np.full((4, 6), 7, "f4"),) * 2, ValueError, "out has 2 arrays"),
}


@pytest.mark.parametrize("package", BACKENDS.values(), ids=[*BACKENDS])
@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_by_name_before_anything_is_written(package, case):
    a, given, kind, text = WRONG[case]
    function, y, da = package.clamped_swiglu, np.full((4, 3), 7, "f4"), np.full((4, 6), 7, "f4")
    with pytest.raises(kind, match=rf"^clamped_swiglu\.packed(\(\) missing 1 required |: ){text}"):
        function.packed(a, **given, out=y)
    with pytest.raises(kind, match=rf"^(clamped_swiglu\.packed\.)?backward(\(\) missing 1 required |: ){text}"):
        function.packed.backward(np.ones((4, 3), "f4"), a, **given, out=da)
    assert (y == 7).all()
    assert (da == 7).all()


@pytest.mark.parametrize("package", BACKENDS.values(), ids=[*BACKENDS])
@pytest.mark.parametrize("case", OUTS)
def test_a_wrong_out_is_refused(package, case):
    make, kind, text = OUTS[case]
    for call in (
        lambda out: package.swiglu.packed(np.ones((4, 12), "f4"), order="gate_first", out=out),
        lambda out: package.swiglu.packed.backward(np.ones((4, 3), "f4"), A, order="interleaved", out=out),
    ):
        out = make()
        with pytest.raises(kind, match=rf"^swiglu\.packed(\.backward)?: {text}"):
            call(out)
        assert all((np.asarray(array) == 7).all() for array in out)
    sealed = np.full((4, 6), 7, "f4")
    sealed.flags.writeable = False
    with pytest.raises(ValueError, match=r"^swiglu\.packed\.backward: out is read-only"):
        package.swiglu.packed.backward(np.ones((4, 3), "f4"), A, order="interleaved", out=sealed)
    with pytest.raises(ValueError, match=r"^swiglu\.packed\.backward: shapes do not broadcast: dy \(4, 6\)"):
        package.swiglu.packed.backward(A, A, order="interleaved")


@pytest.mark.parametrize("order", ORDERS)
def test_no_half_is_copied(order):
    a, dy = np.ones((512, 2048), "f4"), np.ones((512, 1024), "f4")
    out = np.empty_like(a)
    calls = (
        lambda: swiglu.packed(a, order=order, out=dy),
        lambda: swiglu.packed.backward(dy, a, order=order, out=out),
        lambda: swiglu.packed.backward(dy, a, order=order, out=a),
    )
    for call in calls:
        call()
        before = memory.statistics()
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50_000
        assert memory.statistics() == before


def test_a_function_whose_parameter_is_called_as_the_packed_array_has_no_packed():
    for name in ("a", "order", "scale"):
        scope = {"gated": gated, "__name__": __name__}
        exec(f"@gated(exact=lambda m, x, g, {name}: x, ulp=0)\ndef mine(x, g, {name}=1.0):\n    return x * g", scope)
        exec(f"@mine.gradient\ndef mine_gradient(x, g, {name}):\n    return g, x", scope)
        assert hasattr(scope["mine"], "packed") == (name == "scale")


def test_the_docstring_says_which_models_pack_how():
    assert "gpt-oss" in clamped_swiglu.__doc__
    assert "interleaved" in clamped_swiglu.__doc__
    assert "no default" in swiglu.packed.__doc__


@pytest.mark.parametrize("order", ORDERS)
def test_torch_and_jax_differentiate_packed_calls(order):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    a = (np.random.default_rng(0).standard_normal((3, 8)) * 2).astype("f4")
    dy = np.linspace(-1, 1, 12, dtype="f4").reshape(3, 4)
    expected = swiglu.packed.backward(dy, a, order=order)
    tensor = torch.from_numpy(a).requires_grad_(True)
    swiglu.packed(tensor, order=order).backward(torch.from_numpy(dy))
    np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-6, atol=1e-7)
    loss = jax.jit(jax.grad(lambda array: (swiglu.packed(array, order=order) * dy).sum()))
    np.testing.assert_allclose(np.asarray(loss(jax.numpy.asarray(a))), expected, rtol=1e-6, atol=1e-7)
    traced = jax.jit(lambda above, array: swiglu.packed.backward(above, array, order=order))
    np.testing.assert_allclose(np.asarray(traced(dy, a)), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("order", ORDERS)
def test_dask_cuts_packed_arrays_anywhere_and_asks_for_sides_that_it_does_not_know(order):
    da = pytest.importorskip("dask.array")
    a = numbers(12 * 20, np.dtype("f4")).reshape(12, 20)
    dy = a[:, :10]
    lazy, above = da.from_array(a, chunks=(5, 7)), da.from_array(dy, chunks=(4, 3))
    assert_same(swiglu.packed(lazy, order=order).compute(), swiglu.packed(a, order=order))
    gradient = swiglu.packed.backward(above, lazy, order=order)
    assert_same(gradient.compute(), swiglu.packed.backward(dy, a, order=order))
    with pytest.raises(TypeError, match=r"^swiglu\.packed\.backward: out is for arrays of NumPy and CuPy"):
        swiglu.packed.backward(above, lazy, order=order, out=a)
    unknown = lazy[da.from_array(np.arange(12) % 2 == 0, chunks=5)]
    assert_same(swiglu.packed(unknown, order=order).compute(), swiglu.packed(a[::2], order=order))
    with pytest.raises(ValueError, match=r"^swiglu\.packed: nobody knows .* axis 0; call a\.compute_chunk_sizes\(\)"):
        swiglu.packed(unknown, order=order, axis=0)
