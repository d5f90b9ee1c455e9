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

from . import Library, Rule


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
        def compute(*arrays: Any) -> Any:
            return value(*map(jnp.asarray, arrays))  # JAX passes on constants as numbers

        if rule.slopes is None:
            return _by_rows(compute, rule, *arrays)
        custom = jax.custom_jvp(compute)
        custom.defjvp(partial(_jvp, compute, rule), symbolic_zeros=True)
        return custom(*arrays)


def _jvp(value: Any, rule: Any, primals: Any, tangents: Any) -> Any:
    """Give the value, and the tangent times the derivative, +0.0 where that is 0."""
    first = len(primals) - len(rule.parameters)
    for name, direction in zip(rule.parameters, tangents[first:], strict=True):
        if not isinstance(direction, SymbolicZero):
            raise TypeError(f"{rule.function} has no derivative by {name}; prelu has one by its slope")
    y = value(*primals)
    tangent: Any = jnp.zeros_like(y)
    for slope, direction in zip(rule.slopes(*map(jnp.asarray, primals)), tangents, strict=False):
        if not isinstance(direction, SymbolicZero):
            with LIBRARY.float64():  # a derivative that float32 does not hold is not 0
                wide = jax.lax.convert_element_type(direction, slope.dtype) * slope
                part = jnp.where(slope == 0, jnp.zeros_like(slope), wide)
                tangent = tangent + jax.lax.convert_element_type(part, y.dtype)
    return y, tangent


def _by_rows(value: Any, rule: Any, x: Any) -> Any:
    """Compute a row-wise function, whose gradient is one of dy and y; JAX has no forward mode of such."""
    custom = jax.custom_vjp(value)

    def forward(x: Any) -> Any:
        y = value(x)
        return y, y

    custom.defvjp(forward, lambda y, dy: tuple(dx.astype(x.dtype) for dx in rule.backward(dy, y)))
    return custom(x)


LIBRARY = _JAX(jnp, jax.Array)
