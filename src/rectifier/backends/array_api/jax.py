"""JAX: traced arrays, and the rules by which ``jax.grad`` differentiates."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .library import Library, RowRule, Rule


class _JAX(Library):
    takes_numpy = True  # and traces some constants as such

    def is_plain(self, array: Any) -> bool:
        return not isinstance(array, jax.core.Tracer) and all(device.platform == "cpu" for device in array.devices())

    def to_numpy(self, array: Any) -> Any:
        return np.asarray(array)

    def from_numpy(self, array: Any) -> Any:
        if array.dtype == np.float64 and not jax.config.jax_enable_x64:  # of integers
            array = array.astype(np.float32)
        try:
            return jax.dlpack.from_dlpack(array)
        except (BufferError, RuntimeError, TypeError, ValueError):
            # bfloat16, or memory that does not begin with a line.
            return jnp.asarray(array)

    def float64(self) -> AbstractContextManager[Any]:
        return cast(AbstractContextManager[Any], jax.enable_x64(True))

    def result(self, name: str) -> str:
        return "float32" if name == "float64" and not jax.config.jax_enable_x64 else name

    def astype(self, array: Any, name: str) -> Any:
        return jax.lax.convert_element_type(array, np.dtype(name))

    def number(self, value: float, name: str, like: Any) -> Any:
        return np.dtype(name).type(value)  # a constant of what is traced, on whatever device

    def differentiable(self, value: Callable[..., Any], rule: Rule, *arrays: Any) -> Any:
        compute: Any = jax.custom_jvp(lambda *arrays: value(*map(jnp.asarray, arrays)))  # constants come as numbers
        compute.defjvp(partial(_jvp, compute, rule), symbolic_zeros=True)
        return compute(*arrays)

    def differentiable_rows(self, value: Callable[..., Any], rule: RowRule, x: Any, *others: Any) -> Any:
        compute: Any = jax.custom_jvp(lambda *arrays: value(*map(jnp.asarray, arrays)))

        def jvp(primals: Any, tangents: Any) -> Any:
            (tangent, *more), (x, *beside) = tangents, primals
            rule.refuse(not isinstance(one, SymbolicZero) for one in more)
            y = compute(*primals)
            is_zero = isinstance(tangent, SymbolicZero)
            return y, jnp.zeros_like(y) if is_zero else rule.forward(tangent, x if rule.of_x else y, *beside)

        compute.defjvp(jvp, symbolic_zeros=True)
        return compute(x, *others)

    def times(self, t: Any, d: Any) -> Any:
        return _product_p.bind(t, d)

    def count(self, number: int, like: Any) -> Any:
        return jnp.arange(number)


def _jvp(compute: Any, rule: Rule, primals: Any, tangents: Any) -> Any:
    """Return the value, or a derivative, and the sum of tangents times the next derivatives."""
    rule.refuse(not isinstance(tangent, SymbolicZero) for tangent in tangents)
    y = compute(*primals)
    with LIBRARY.float64():  # a derivative that float32 does not hold is not 0
        total = jnp.zeros_like(y)
        for place, tangent in enumerate(tangents):
            if not isinstance(tangent, SymbolicZero):
                slope = _derivative(rule.by(place))(*primals)
                wide = jax.lax.convert_element_type(_spread(tangent, slope.shape), slope.dtype)
                total = total + jax.lax.convert_element_type(_product_p.bind(wide, slope), y.dtype)
    return y, total


def _spread(tangent: Any, shape: tuple[int, ...]) -> Any:
    """Broadcast by way of float64, in which the transpose, the gradient of what was broadcast, is then summed."""
    if tangent.shape == shape:
        return tangent
    return jnp.broadcast_to(jax.lax.convert_element_type(tangent, np.float64), shape)


def _derivative(rule: Rule) -> Any:
    """Make the derivative of a rule, which can be differentiated again."""
    compute: Any = jax.custom_jvp(lambda *arrays: rule.derivative(rule.places, *map(jnp.asarray, arrays)))
    compute.defjvp(partial(_jvp, compute, rule), symbolic_zeros=True)
    return compute


def _product(t: Any, d: Any) -> Any:
    """Multiply; 0 where d is 0, whatever t is."""
    with LIBRARY.float64():
        return jnp.where(d == 0, jnp.zeros_like(d), t * d)


def _product_transpose(dy: Any, t: Any, d: Any) -> Any:
    return (_product_p.bind(dy, d), None) if ad.is_undefined_primal(t) else (None, _product_p.bind(dy, t))


# A primitive, because of its derivative by d: that of `where` is 0 where d is, and should be t.
_product_p = Primitive("product_or_0")
_product_p.def_impl(_product)
_product_p.def_abstract_eval(lambda t, d: d)
mlir.register_lowering(_product_p, mlir.lower_fun(_product, multiple_results=False))
batching.defbroadcasting(_product_p)
ad.defjvp(_product_p, lambda dt, t, d: _product_p.bind(dt, d), lambda dd, t, d: _product_p.bind(t, dd))
ad.primitive_transposes[_product_p] = _product_transpose


LIBRARY = _JAX(jnp, jax.Array)
