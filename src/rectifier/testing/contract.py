"""What every backend promises, as a test class of pytest to be inherited."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .. import catalogue
from ..functions.specification import Rowwise
from .checks import dtype_of, special_values, ulps

_ALIKE = ("relu", "leaky_relu", "gelu", "swiglu", "softmax")  # of each kind, where a claim is about a backend
_FOR_ALL = ("value", "backward")  # operations of every function; the others of those above
_SHAPE = (6, 10)
_HALVES: dict[str, Any] = {"order": "gate_first", "axis": 0}
_LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "Fortran": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "negative": lambda x: x[::-1].copy()[::-1],
    "empty": lambda x: x[:0],
    "one element": lambda x: x[:1, :1],
    "0-d": lambda x: x[0, 0].reshape(()),
}


def _operations(name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the operations of a function by name: calls of the function, x and dy, which may be of any library."""
    yield "value", lambda f, x, dy: f(x, dy) if name in catalogue.GATES else f(x)
    if name in catalogue.GATES:
        yield "backward", lambda f, x, dy: f.backward(dy, x, x)
        yield "vjp", lambda f, x, dy: f.vjp(x, x)[1](dy)
        yield "packed", lambda f, x, dy: f.packed(x, order="interleaved")
        yield "packed backward", lambda f, x, dy: f.packed.backward(f.packed(dy, **_HALVES), x, **_HALVES)
        return
    if name in catalogue.REDUCTIONS:
        yield "backward", lambda f, x, dy: f.backward(f(dy), x)
        yield "vjp", lambda f, x, dy: f.vjp(x)[1](f(dy))
        return
    yield "backward", lambda f, x, dy: f.backward(dy, x)
    yield "vjp", lambda f, x, dy: f.vjp(x)[1](dy)
    spec = catalogue.ALL[name].spec
    if name in catalogue.ROWWISE or "y" in spec.backward_from:
        yield "backward from y", lambda f, x, dy: f.backward(dy, y=f(x))
    if name in catalogue.ROWWISE:
        return
    yield "derivative", lambda f, x, dy: f.derivative(x)
    yield "value and derivative", lambda f, x, dy: f.value_and_derivative(x)
    if "mask" in spec.backward_from:
        yield "with mask", lambda f, x, dy: f.with_mask(x)[0]
        yield "backward from a mask", lambda f, x, dy: f.backward(dy, mask=f.with_mask(x)[1])


def _is_of(capabilities: frozenset[str], name: str, operation: str) -> bool:
    """Return whether a backend with these capabilities computes an operation of a function."""
    return (
        ("mask" in capabilities or "mask" not in operation)
        and ("rows" in capabilities or name not in catalogue.ROWWISE)
        and ("reductions" in capabilities or name not in catalogue.REDUCTIONS)
        and ("packed" in capabilities or "packed" not in operation)
        and ("gradients" in capabilities or name not in catalogue.GATES or operation in ("value", "packed"))
    )


def _each(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


class BackendContract:
    """Test a backend: inherit from this in a class that pytest collects, and say how arrays come and go.

    Attributes
    ----------
    capabilities : frozenset of str
        Those of the backend's module. What it has is tested, what it lacks has to be refused.
    dtypes : tuple of str
        Floating dtypes of the library.
    units : float
        By how many units in the last place a result may differ from that of a call on NumPy arrays; with 0, the
        bits are the same.
    subnormal : bool
        Whether the library keeps subnormal numbers.
    aligns : bool
        Whether arrays of unlike shapes meet by their labels.
    functions : mapping
        The functions that are called, by name.

    Examples
    --------
    >>> class TestNumpy(BackendContract):
    ...     capabilities = frozenset({"out", "mask", "rows", "gradients", "packed"})
    ...     take = give = staticmethod(lambda array: array)
    """

    capabilities: frozenset[str] = frozenset()
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32", "float64")
    units: float = 0
    subnormal = True
    aligns = False
    functions: Mapping[str, Any] = catalogue.ALL
    layouts: tuple[str, ...] = tuple(_LAYOUTS)

    def take(self, array: np.ndarray[Any, Any]) -> Any:
        """Make an array of the library, of the numbers, the dtype and the shape of a NumPy array."""
        raise NotImplementedError

    def give(self, array: Any) -> np.ndarray[Any, Any]:
        """Make a NumPy array of one of the library."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Parametrise each test over what the capabilities allow, or over what they do not."""
        names = metafunc.fixturenames
        if "name" in names:
            every = {"dtype_name", "layout"}.isdisjoint(names)
            chosen = tuple(name for name in (self.functions if every else _ALIKE) if name in self.functions)
            pairs = [(name, operation) for name in chosen for operation, _ in _operations(name)]
            kept = (*_FOR_ALL, "backward from a mask") if "layout" in names else _FOR_ALL
            pairs = [(n, operation) for n, operation in pairs if operation in kept or (every and n in _ALIKE)]
            lacking = metafunc.function.__name__.endswith("refused")
            pairs = [pair for pair in pairs if _is_of(self.capabilities, *pair) != lacking]
            assert pairs or lacking
            metafunc.parametrize(("name", "operation"), pairs, ids=["-".join(pair) for pair in pairs])
        if "dtype_name" in names:
            metafunc.parametrize("dtype_name", self.dtypes)
        if "layout" in names:
            metafunc.parametrize("layout", self.layouts)

    def numbers(self, dtype: str = "float32") -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Make x and dy, with special values among them."""
        rng, kind = np.random.default_rng(0), dtype_of(dtype)
        x, dy = ((rng.standard_normal(_SHAPE) * 3).astype(kind) for _ in range(2))
        special = special_values(kind)
        if not self.subnormal:
            special = special[
                (np.abs(special) >= np.array(2.0**-126).astype(kind)) | (special == 0) | np.isnan(special)
            ]
        x.flat[: len(special)] = special
        return x, dy

    def require_alike(self, name: str, operation: str, x: Any, dy: Any) -> None:
        """Assert that a call gives what it gives on NumPy arrays, in arrays of the library."""
        (call,) = (call for found, call in _operations(name) if found == operation)
        mine, spec = self.functions[name], catalogue.ALL[name].spec
        taken, reference = self.take(x), call
        by_mask = name not in catalogue.GATES and name not in catalogue.REDUCTIONS
        if operation == "vjp" and "mask" not in self.capabilities and by_mask:
            reference = lambda f, x, dy: f.backward(dy, x)  # noqa: E731  (by a mask, NaN in x would pass dy)
        with np.errstate(all="ignore"):
            expected = _each(reference(catalogue.ALL[name], x, dy))
            results = _each(call(mine, taken, self.take(dy)))
        assert len(results) == len(expected)
        for result, right in zip(results, map(np.asarray, expected), strict=True):
            assert type(result) is type(taken)
            actual = np.asarray(self.give(result))
            assert (actual.dtype, actual.shape) == (right.dtype, right.shape)
            self._compare(actual, right, self.units * (64 if isinstance(spec, Rowwise) else 1), spec)

    def _compare(self, actual: Any, right: Any, units: float, spec: Any) -> None:
        nan = np.isnan(right)
        assert np.array_equal(np.isnan(actual), nan)
        if not units:
            unsigned = f"u{right.itemsize}"
            same = np.ascontiguousarray(actual).view(unsigned) == np.ascontiguousarray(right).view(unsigned)
            assert (same | nan).all(), (actual, right)
            return
        errors = ulps(actual.ravel(), right.ravel().astype(np.longdouble), right.dtype)
        tiny = np.abs(actual.astype("f8") - right.astype("f8")) <= 1e-7
        assert ((errors <= units) | tiny.ravel() | nan.ravel()).all(), (actual, right)

    def test_results_are_those_of_numpy(self, name: str, operation: str) -> None:
        """Check each function and operation in float32."""
        self.require_alike(name, operation, *self.numbers())

    def test_dtypes_are_kept(self, name: str, operation: str, dtype_name: str) -> None:
        """Check a function of each kind in each dtype."""
        self.require_alike(name, operation, *self.numbers(dtype_name))

    def test_layouts_do_not_matter(self, name: str, operation: str, layout: str) -> None:
        """Check a function of each kind in each layout."""
        self.require_alike(name, operation, *map(_LAYOUTS[layout], self.numbers()))

    def test_what_a_backend_lacks_is_refused(self, name: str, operation: str) -> None:
        """Check that a call beyond the capabilities is an error that says what to do."""
        import pytest

        x, dy = self.numbers()
        (call,) = (call for found, call in _operations(name) if found == operation)
        with pytest.raises(TypeError, match=rf"{name}.*(use|convert|pass)"):
            call(self.functions[name], self.take(x), self.take(dy))

    def test_out_is_written_or_refused(self) -> None:
        """Check `out` of another array, of x itself, and of a wrong shape."""
        import pytest

        x, _ = self.numbers()
        relu, out = self.functions["relu"], self.take(np.full_like(x, 7))
        if "out" not in self.capabilities:
            with pytest.raises(TypeError, match="assign the result"):
                relu(self.take(x), out=out)
            return
        assert relu(self.take(x), out=out) is out
        self._compare(self.give(out), np.asarray(catalogue.ALL["relu"](x)), 0, relu.spec)
        there = self.take(x.copy())
        assert relu(there, out=there) is there
        self._compare(self.give(there), self.give(out), 0, relu.spec)
        small = self.take(np.full((2, 2), 7, x.dtype))
        with pytest.raises(ValueError, match=r"out has shape \(2, 2\)"):
            relu(self.take(x), out=small)
        assert (self.give(small) == 7).all()

    def test_a_dtype_without_a_row_is_refused(self) -> None:
        """Check that an error names the function, its argument, and what it takes."""
        import pytest

        ones = self.take(np.ones(_SHAPE, bool))
        for name in ("relu", "softmax"):
            if name in self.functions and _is_of(self.capabilities, name, "value"):
                with pytest.raises(TypeError, match=rf"^{name}: x.*[bB]ool.*it takes integers and float16 to float64"):
                    self.functions[name](ones)

    def test_what_is_no_parameter_is_refused(self) -> None:
        """Check that what no number is gets the error that it gets beside NumPy arrays."""
        import pytest

        x, dy = self.numbers()
        mine, reference = self.functions["leaky_relu"], catalogue.ALL["leaky_relu"]
        for wrong in ("a", None, True, 1j, 2**70, [[1.0], [1.0, 2.0]]):
            with pytest.raises((TypeError, ValueError), match=r"^leaky_relu: negative_slope") as error:
                reference(x, negative_slope=wrong)
            with pytest.raises(type(error.value), match=r"^leaky_relu: negative_slope"):
                mine(self.take(x), negative_slope=wrong)
            with pytest.raises(type(error.value), match=r"^leaky_relu(\.\w+)?: negative_slope"):
                mine.vjp(self.take(x), negative_slope=wrong)[1](self.take(dy))

    def test_shapes_that_do_not_meet_are_refused(self) -> None:
        """Check that an error names the function."""
        import pytest

        if self.aligns:
            return
        x, dy = self.numbers()
        with pytest.raises(ValueError, match=r"^relu\.backward: .*dy.* x "):
            self.functions["relu"].backward(self.take(dy), self.take(x[:, :3]))
        if "softmax" in self.functions and _is_of(self.capabilities, "softmax", "backward"):
            with pytest.raises(ValueError, match=r"^softmax\.backward: .*dy"):
                self.functions["softmax"].backward(self.take(dy), self.take(x[:, :3]))
