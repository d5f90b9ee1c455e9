"""Results of other libraries for the functions of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial
from importlib import util
from typing import Any

import numpy as np

from ..libraries import JAX, SCIPY, TORCH, from_torch, to_torch

CHUNK = 1 << 15  # calls of NumPy cost less than half of it all, and no array is mapped anew each time
LIBRARIES = {"PyTorch": "torch", "JAX": "jax", "SciPy": "scipy"}


@cache
def reference(source: str, name: str, dtype: str) -> dict[str, Callable[[Any], Any]]:
    """Return the operations in which another library has a function; none if it is not installed."""
    if util.find_spec(LIBRARIES[source]) is None:
        return {}
    if source == "SciPy":
        known = name in SCIPY and dtype in ("float32", "float64")
        return {"value": lambda x: SCIPY[name](_special(), x)} if known else {}
    if source == "PyTorch":
        return {o: partial(_by_torch, name, o) for o in ("value", "derivative")} if name in TORCH else {}
    return {o: partial(_by_jax, name, dtype, o) for o in ("value", "derivative")} if name in JAX else {}


def _by_torch(name: str, operation: str, x: Any) -> Any:
    torch = _torch()
    call, t = TORCH[name].function(torch), to_torch(x.copy())
    if operation == "value":
        return from_torch(call(t))
    t.requires_grad_()
    return from_torch(*torch.autograd.grad(call(t), t, torch.ones_like(t)))


def _by_jax(name: str, dtype: str, operation: str, x: Any) -> Any:
    return np.asarray(_jitted(name, dtype, operation)(np.resize(x, CHUNK + 1)))[: x.size]  # compiled for one size


@lru_cache(maxsize=2)  # what JAX compiles stays in memory as long as this
def _jitted(name: str, dtype: str, operation: str) -> Any:
    jax = _jax()
    call = JAX[name].function(jax.nn)
    return jax.jit(jax.vmap(jax.grad(call)) if operation == "derivative" else call)


def references_of_rows(name: str, dtype: str) -> dict[str, Callable[[Any], Any]]:
    """Return what other libraries, where they are installed, have for a function of rows."""
    if dtype == "bfloat16":
        return {}
    ways: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "PyTorch": (TORCH, partial(_by_torch, name, "value")),
        "JAX": (JAX, lambda x: np.asarray(JAX[name].function(_jax().nn)(x))),
        "SciPy": (SCIPY, lambda x: SCIPY[name](_special(), x)),
    }
    return {
        source: way for source, (offers, way) in ways.items() if name in offers and util.find_spec(LIBRARIES[source])
    }


def _torch() -> Any:
    import torch

    torch.set_num_threads(1)
    return torch


def _jax() -> Any:
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    return jax


def _special() -> Any:
    from scipy import special

    return special
