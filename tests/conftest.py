"""The backends under test: the compiled engine and the NumPy reading, each with its own copy of the package."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FunctionType, ModuleType

import numpy as np
import pytest

import rectifier
from rectifier.catalogue import CATALOGUE
from rectifier.testing import dtype_of

# What one test compiles the others find, in whichever process, and no test finds what was there before.
if "RECTIFIER_TEST_FOLDER" not in os.environ:
    os.environ["RECTIFIER_TEST_FOLDER"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["RECTIFIER_TEST_FOLDER"], ignore_errors=True)
if "RECTIFIER_TEST_STORE" not in os.environ:
    os.environ["RECTIFIER_TEST_STORE"] = os.environ["RECTIFIER_STORE"] = os.environ["RECTIFIER_TEST_FOLDER"] + "/store"


def _copy_of_package(engine: str) -> ModuleType:
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "rectifier"}
    before = os.environ.get("RECTIFIER_ENGINE")
    os.environ["RECTIFIER_ENGINE"] = engine
    try:
        return importlib.import_module("rectifier")
    finally:
        os.environ.pop("RECTIFIER_ENGINE")
        if before is not None:
            os.environ["RECTIFIER_ENGINE"] = before
        for name in [name for name in sys.modules if name.partition(".")[0] == "rectifier"]:
            del sys.modules[name]
        sys.modules.update(kept)


BACKENDS = {"llvm": rectifier, "numpy": _copy_of_package("numpy")}


def _give(call: FunctionType, numbers: dict[str, float]) -> None:
    """Make numbers the defaults of parameters that have none, in all calls of a function: tests call all alike."""
    if not numbers.items() <= (call.__kwdefaults__ or {}).items():
        call.__kwdefaults__ = {**(call.__kwdefaults__ or {}), **numbers}
        for other in vars(call).values():
            if isinstance(other, FunctionType) and set(numbers) <= set(other.__code__.co_varnames):
                _give(other, numbers)


for _package, _name in itertools.product(BACKENDS.values(), CATALOGUE):
    _give(getattr(_package, _name), getattr(_package, _name).spec.required)


PATIENCE = float(os.environ.get("RECTIFIER_TEST_PATIENCE", "1"))  # an emulated processor takes longer over everything
FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


# What the machinery does it does to all functions alike; these two stand for them where a test is about the machinery.
STAND_INS = ("relu", "leaky_relu")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test over backends and functions: all for `member`, two for `activation`; over the floats for `dtype`."""
    for fixture, names in (("activation", STAND_INS), ("member", tuple(CATALOGUE))):
        if fixture in metafunc.fixturenames:
            cases = [
                pytest.param(getattr(package, name), id=f"{name}-{backend}")
                for name in names
                for backend, package in BACKENDS.items()
            ]
            assert len(cases) >= 4
            metafunc.parametrize(fixture, cases)
    own = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "dtype" in metafunc.fixturenames and "dtype" not in own:
        metafunc.parametrize("dtype", [pytest.param(dtype_of(name), id=name) for name in FLOATS])


def optional(name: str) -> ModuleType | None:
    """Import a library; None where it is not installed."""
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def needs(*names: str) -> pytest.MarkDecorator:
    """Mark a test, or one case of it, to be skipped where one of these libraries is not installed."""
    missing = [name for name in names if not importlib.util.find_spec(name)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


def require_gpu_tier(what: str) -> ModuleType | None:
    """Skip a test, or fail where tiers are required, which needs CuPy, its compiler, g++ or a GPU; give CuPy.

    A GPU is never required.
    """
    try:
        if what == "g++":
            subprocess.run(["g++", "--version"], check=True, capture_output=True)
            return None
        cupy = importlib.import_module("cupy")
        if what == "gpu":
            cupy.cuda.runtime.getDeviceCount()
        else:
            cupy.cuda.nvrtc.getVersion()
        return cupy
    except Exception as error:
        if what != "gpu" and os.environ.get("RECTIFIER_GPU_TIERS") == "required":
            pytest.fail(f"{what}: {error!r}")
        pytest.skip(f"{what}: {error!r}", allow_module_level=True)


@pytest.fixture(scope="session")
def host():
    """Give a CPU that runs kernels written for a GPU."""
    require_gpu_tier("g++")
    return importlib.import_module("cuda_host").started()


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    """Give what runs kernels: such a host, and a GPU where there is one."""
    if request.param == "gpu":
        require_gpu_tier("gpu")
        return importlib.import_module("cuda_host").Device()
    found = request.getfixturevalue("host")
    found.install(monkeypatch)
    return found


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, where warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120 * PATIENCE,
    )


def settings_of(activation) -> list[dict[str, float]]:
    """List settings of the parameters: the defaults, and others for each."""
    parameters = activation.spec.parameters
    settings = [{}]
    for name, default in parameters.items():
        settings += [{name: value} for value in (0.0, -default, 0.25, 3.0)]
    return settings


# Other values of parameters than the defaults; a parameter that is not here gets half and twice its default.
OTHER = {
    "alpha": (0.3, 1.7),
    "alpha_n": (0.3, 1.7, 0.0),
    "alpha_p": (0.3, 1.7),
    "b": (0.1, 1.0),
    "beta": (0.5, 3.0, 0.01, -1.0),
    "bias": (0.5, -0.25, 3.0),
    "eps": (0.0, -0.5, -1e-3),
    "max_value": (2.0, 6.0),
    "min_value": (-2.0, 0.0),
    "negative_slope": (0.2, -0.5, 0.0),
    "offset": (0.25,),
    "slope": (0.2,),
    "threshold": (0.0, 0.25, 2.0),
    "value": (0.0, 3.0),
}


def package_of(activation) -> ModuleType:
    """Give the copy of the package that a function is of."""
    return next(package for package in BACKENDS.values() if getattr(package, activation.__name__) is activation)


def others(activation) -> list[dict[str, float]]:
    """List settings of the parameters, each other than its default once."""
    parameters = activation.spec.parameters
    return [{name: x} for name, default in parameters.items() for x in OTHER.get(name, (default / 2, default * 2))]


def numbers(n: int, dtype: np.dtype, seed: int = 0) -> np.ndarray:
    """Make `n` numbers, one in eight special: NaN, an infinity, a zero of either sign, a subnormal."""
    from rectifier.testing import special_values

    rng = np.random.default_rng([seed, n])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
    x = rng.standard_normal(n).astype(dtype)
    if n:
        special = special_values(dtype)
        chosen = rng.random(n) < 1 / 8
        x[chosen] = special[rng.integers(0, len(special), int(chosen.sum()))]
    return x


def assert_same(actual, expected) -> None:
    """Assert the same type, dtype, shape and bits, all NaN being one."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype.kind in "iub":
        assert np.array_equal(actual, expected)
        return
    a, e = np.ascontiguousarray(actual), np.ascontiguousarray(expected)
    unsigned = np.dtype(f"u{a.dtype.itemsize}")
    with np.errstate(invalid="ignore"):  # ml_dtypes looks at a signalling NaN as a float32
        nan = np.isnan(a.reshape(-1)) & np.isnan(e.reshape(-1))
    same = (a.reshape(-1).view(unsigned) == e.reshape(-1).view(unsigned)) | nan
    assert same.all(), f"{np.count_nonzero(~same)} of {same.size} differ, first at {np.flatnonzero(~same)[0]}"


def write(root: Path, files: dict[str, str]) -> Path:
    """Write files into a folder, by their paths in it, and return the folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def program(monkeypatch, capsys):
    """Make what runs a program with arguments in this process: exit status, stdout, stderr."""
    handler = signal.getsignal(signal.SIGINT)

    def made(name, main, columns):
        monkeypatch.setenv("COLUMNS", str(columns))

        def call(*arguments):
            monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
            return (ended.value.code or 0, *capsys.readouterr())

        return call

    yield made
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def command_line(program):
    """Run ``rectifier``."""
    from rectifier.tools import cli

    return program("rectifier", cli.main, 100)


@pytest.fixture
def run(command_line):
    """Run ``rectifier``, or the command that a file of tests is about."""
    return command_line


@pytest.fixture
def applied(command_line, monkeypatch, tmp_path):
    """Run ``rectifier apply`` with arguments in this process, in a new directory: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: command_line("apply", "--memory", "4GiB", *arguments)
