"""Every backend keeps the contract, as far as its capabilities go."""

from __future__ import annotations

import importlib
from types import MappingProxyType

import numpy as np
import pytest

from conftest import BACKENDS, needs
from rectifier.backends import registry
from rectifier.catalogue import ALL
from rectifier.testing import BackendContract

EVERY = frozenset(registry.CAPABILITIES)


def capabilities_of(module: str) -> frozenset[str]:
    found: frozenset[str] = importlib.import_module(f"rectifier.backends.{module}").capabilities
    assert found <= EVERY
    return found


ROUNDING_ONCE = ("relu", "leaky_relu", "relu6", "hard_tanh", "soft_shrink", "hard_shrink", "reglu", "prelu")


class TestInterpreted(BackendContract):
    """NumPy's arrays, computed by the NumPy engine: the bits of the compiled engine, where a function rounds once."""

    capabilities = capabilities_of("numpy")
    functions = MappingProxyType({name: getattr(BACKENDS["numpy"], name) for name in ROUNDING_ONCE})

    def take(self, array):
        return array

    def give(self, array):
        return array


@needs("cupy")
class TestCupy(BackendContract):
    """Stand-ins for CuPy's arrays, computed by the NumPy engine."""

    capabilities = EVERY
    functions = MappingProxyType({name: ALL[name] for name in ROUNDING_ONCE})

    @pytest.fixture(autouse=True)
    def _install(self, monkeypatch):
        stand_in = importlib.import_module("cupy_stand_in").install(monkeypatch, BACKENDS["numpy"])
        self.take, self.give = stand_in.asarray, lambda array: np.asarray(stand_in.asnumpy(array))


@needs("dask")
class TestDask(BackendContract):
    """Chunks, each computed by the compiled engine."""

    capabilities = capabilities_of("dask")

    def take(self, array):
        return importlib.import_module("dask.array").from_array(array, chunks=4)

    def give(self, array):
        return np.asarray(array.compute(scheduler="synchronous"))


@needs("array_api_strict")
class TestArrayApiStrict(BackendContract):
    """Arrays of the standard on a CPU, which go to the compiled engine."""

    capabilities = capabilities_of("array_api")
    dtypes = ("float32", "float64")

    def take(self, array):
        return importlib.import_module("array_api_strict").asarray(array, copy=True)

    def give(self, array):
        return np.from_dlpack(array)


@needs("torch")
class TestTorch(BackendContract):
    """Tensors without a gradient, which go to the compiled engine."""

    capabilities = capabilities_of("array_api")
    dtypes = ("float16", "float32", "float64")
    layouts = tuple(layout for layout in BackendContract.layouts if layout != "negative")  # PyTorch has none

    def take(self, array):
        return importlib.import_module("torch").tensor(array)

    def give(self, array):
        return array.numpy()


@needs("jax")
class TestJax(BackendContract):
    """Arrays of JAX that are not traced, which go to the compiled engine."""

    capabilities = capabilities_of("array_api")
    dtypes = ("float16", "bfloat16", "float32")

    def take(self, array):
        return importlib.import_module("jax.numpy").asarray(array)

    def give(self, array):
        return np.asarray(array)


@needs("pandas")
class TestPandas(BackendContract):
    """Frames of one dtype."""

    aligns = True
    capabilities = capabilities_of("labelled")
    dtypes = ("float32", "float64")
    layouts = tuple(layout for layout in BackendContract.layouts if layout != "0-d")

    def take(self, array):
        return importlib.import_module("pandas").DataFrame(array)

    def give(self, array):
        return array.to_numpy()


@needs("xarray")
class TestXarray(BackendContract):
    """Arrays with names for their dimensions."""

    capabilities = capabilities_of("labelled")

    def take(self, array):
        return importlib.import_module("xarray").DataArray(array)

    def give(self, array):
        return array.to_numpy()


@needs("polars")
class TestPolars(BackendContract):
    """Frames, whose columns are computed one by one."""

    capabilities = capabilities_of("labelled")
    dtypes = ("float32", "float64")
    layouts = tuple(layout for layout in BackendContract.layouts if layout != "0-d")

    def take(self, array):
        return importlib.import_module("polars").DataFrame(array)

    def give(self, array):
        return array.to_numpy()


@needs("pyarrow")
class TestPyArrow(BackendContract):
    """Tables, whose columns are computed one by one."""

    capabilities = capabilities_of("labelled")
    dtypes = ("float32", "float64")
    layouts = tuple(layout for layout in BackendContract.layouts if layout != "0-d")

    def take(self, array):
        columns = {str(k): np.ascontiguousarray(column) for k, column in enumerate(array.T)}
        return importlib.import_module("pyarrow").table(columns)

    def give(self, array):
        return np.stack([column.to_numpy() for column in array.columns], axis=1)


class Dimensionless(BackendContract):
    """Quantities, of which every function takes those without a unit."""

    capabilities = capabilities_of("quantities")
    dtypes = ("float16", "float32", "float64")


@needs("astropy")
class TestAstropy(Dimensionless):
    """Quantities of astropy, which are ndarrays."""

    def take(self, array):
        quantity = importlib.import_module("astropy.units").Quantity
        return quantity(array, dtype=array.dtype)

    def give(self, array):
        return array.value


@needs("pint")
class TestPint(Dimensionless):
    """Quantities of pint, which hold arrays."""

    def take(self, array):
        return importlib.import_module("pint").get_application_registry().Quantity(array, "")

    def give(self, array):
        return np.asarray(array.magnitude)


@needs("unyt")
class TestUnyt(Dimensionless):
    """Quantities of unyt, which are ndarrays."""

    layouts = tuple(layout for layout in BackendContract.layouts if layout != "0-d")  # of another type

    def take(self, array):
        return importlib.import_module("unyt").unyt_array(array, "dimensionless")

    def give(self, array):
        return array.d
