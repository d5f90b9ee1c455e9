"""What other libraries call our functions: each one that is installed is called, and gives what ours does."""

from __future__ import annotations

import os

import numpy as np
import pytest

import rectifier
from conftest import needs, optional
from rectifier.catalogue import ALL, GATES
from rectifier.tools import elsewhere

os.environ.setdefault("KERAS_BACKEND", "jax" if optional("jax") else "torch" if optional("torch") else "tensorflow")
X = np.linspace(-6, 6, 128, dtype=np.float32).reshape(4, 32)
TABLE = {"NumPy": elsewhere.NUMPY, **elsewhere.TABLE}
MODULES = {"NumPy": "scipy"} | {name: library.module for name, library in elsewhere.LIBRARIES.items()}
ENTRIES = [
    pytest.param(library, name, same, id=f"{library}-{name}-{same.name}", marks=needs(MODULES[library]))
    for library, names in TABLE.items()
    for name, several in names.items()
    for same in several
]


def both(name, library, same, **parameters):
    """Return what a library gives and what ours does."""
    ours, theirs = getattr(rectifier, name), elsewhere.function_of(library, same)
    if name not in GATES:
        return theirs(X.copy()), ours(X, **parameters)
    first, last = X[:, :16].copy(), X[:, 16:].copy()
    if name == "prelu":
        last = np.array([0.3], np.float32)
    x, gate = (last, first) if same.arrays == "gate, x" else (first, last)
    if same.arrays.startswith("gate_"):  # our own call on one array takes the halves so, too
        return theirs(X.copy()), ours.packed(X, order=same.arrays, **parameters)
    return theirs(first, last), ours(x, gate, **parameters)


def agree(theirs, ours):
    return theirs.shape == ours.shape and bool(np.allclose(theirs, ours, rtol=1e-4, atol=4e-6))


@pytest.mark.parametrize(("library", "name", "same"), ENTRIES)
def test_a_function_elsewhere_is_ours_at_the_parameters_that_are_stated(library, name, same):
    with np.errstate(all="ignore"):
        assert agree(*both(name, library, same, **same.ours))
        if (
            same.ours and not getattr(rectifier, name).spec.required
        ):  # else the table says that they differ where they do not
            assert not agree(*both(name, library, same))


def test_a_gate_in_the_other_half_is_seen():
    numpy = elsewhere.NUMPY["swiglu"][0]
    assert not agree(*both("swiglu", "NumPy", numpy._replace(arrays="gate, x")))
    assert not agree(*both("gelu", "NumPy", elsewhere.NUMPY["gelu_tanh"][0]))


def test_the_page_is_current_and_names_what_there_is():
    text = elsewhere.FILE.read_text(encoding="utf-8")
    assert elsewhere.page(text) == text, "python -m rectifier.tools.elsewhere writes it"
    named = {name for names in TABLE.values() for name in names}
    assert named <= set(ALL)
    assert len(named) >= 35
    assert "| gelu | `gelu_tanh(x)` | `jax.nn.gelu`, `keras.ops.gelu` |" in text
    assert "| leakyrelu | `leaky_relu(x, negative_slope=0.3)` | `keras.layers.LeakyReLU` |" in text
    assert not any(line.endswith(" ") for line in text.splitlines())


@needs("torch", "jax", "onnx")
def test_most_of_it_was_called():
    assert len(ENTRIES) >= 150
