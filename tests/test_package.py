"""What a user installs: what importing loads, what is public, and that the documentation is true."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import rectifier
from conftest import run_python
from rectifier import log_softmax, softmax, swiglu, warmup
from rectifier.catalogue import ALL, CATALOGUE, GATES, LOSSES, REDUCTIONS, ROWWISE

ROOT = Path(__file__).parent.parent


def test_import_loads_nothing_beyond_numpy():
    code = (
        "import sys, numpy; before = set(sys.modules); import rectifier;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names);"
        "print(sorted(new))"
    )
    assert run_python(code).stdout.strip() == "['rectifier']"


def test_the_numpy_engine_needs_numpy_alone():
    """Whatever the kind of function, and of outputs large enough for the pool."""
    code = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
import numpy as np, rectifier
x = np.linspace(0, 1, 120_000).reshape(300, 400)
rectifier.leaky_relu.vjp(x)[1](x), rectifier.relu.backward(x, mask=rectifier.relu.with_mask(x)[1])
assert abs(rectifier.softmax(x).sum() - 300) < 1e-9 and rectifier.log_softmax.vjp(x)[1](x).shape == x.shape
assert rectifier.swiglu.backward(x, x, x)[1].shape == x.shape and rectifier.warmup() == 0
print(rectifier.settings.threads > 0)
"""
    run = run_python(code, RECTIFIER_ENGINE="numpy")
    assert (run.stdout.strip(), run.stderr) == ("True", "")


@pytest.mark.parametrize("library", ["array_api_strict", "jax"])  # PyTorch needs mpmath itself, by SymPy
def test_arrays_of_other_libraries_need_nothing_but_theirs(library):
    """The truth that tests compare with is mpmath's, which JAX does not bring."""
    pytest.importorskip(library)
    namespace = "jax.numpy" if library == "jax" else library
    code = f"""
import {namespace} as xp, sys, rectifier
for name in ("mpmath", "scipy", "ml_dtypes"):
    sys.modules.setdefault(name, None)
x = xp.asarray([-1.0, 2.0])
dx, y = rectifier.silu.backward(x, x), rectifier.softmax(x)
print([float(number) for number in rectifier.relu(x)], dx.shape, round(float(y[0] + y[1]), 5))
"""
    run = run_python(code, RECTIFIER_ENGINE="numpy")
    assert run.stdout.strip() == "[0.0, 2.0] (2,) 1.0", run.stderr


def test_warmup_takes_every_kind_of_function():
    # Integers are computed in float64; with options and without, value and gradient.
    assert warmup(softmax, log_softmax, dtypes=["float32", "int32"]) == 16
    assert warmup(swiglu, dtypes="int32") == warmup(swiglu, dtypes="float64")
    assert warmup(swiglu) >= 2
    assert all(method.loops["float32"].compiled for method in softmax.methods.values())
    with pytest.raises(TypeError, match="is no activation function"):
        warmup(len)
    assert warmup(swiglu, dtypes="bfloat16") == warmup(swiglu)
    for wrong in ("floaty", "bool", None, [None], "c8", 3):
        with pytest.raises(TypeError, match=r"^warmup: dtypes has .*; it takes integers, float16 to float64"):
            warmup(swiglu, dtypes=wrong)


def test_without_cupy_nothing_is_missed():
    code = """
import sys
class Blocker:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "cupy":
            raise ImportError("cupy is not installed")
sys.meta_path.insert(0, Blocker())
import numpy as np, rectifier, rectifier.crysx
y, mask = rectifier.relu.with_mask(np.array([-1.0, 2.0]))
assert rectifier.relu.backward(np.ones(2), mask=mask).tolist() == [0, 1]
assert rectifier.leaky_relu.vjp(np.ones(2), negative_slope=np.ones(2))[1](np.ones(2)).tolist() == [1, 1]
assert rectifier.glu(np.ones(2), 0.0).tolist() == [0.5, 0.5] and rectifier.softmax([1.0]).tolist() == [1.0]
assert rectifier.crysx.ReLU_cupy(np.ones(2)).tolist() == [1, 1] and mask.get() is mask and mask.count() == 1
found = {name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx")}
print(bool(found) or "rectifier.backends.cupy.calls" in sys.modules)
"""
    run = run_python(code, RECTIFIER_ENGINE="numpy")
    assert run.stdout.strip() == "False", run.stderr


def test_calls_on_numpy_arrays_do_not_import_cupy():
    code = "import sys, numpy as np, rectifier; rectifier.relu.vjp(np.ones(3)); print('cupy' in sys.modules)"
    assert run_python(code, RECTIFIER_ENGINE="numpy").stdout.strip() == "False"


def test_all_is_what_is_public():
    makers = {"Activation", "Gated", "Mask", "elementwise", "gated", "memory", "rowwise", "settings", "warmup"}
    assert set(rectifier.__all__) == makers | {*ALL, *LOSSES}
    assert len(ALL) == len(CATALOGUE) + len(GATES) + len(ROWWISE) + len(REDUCTIONS)
    for name in rectifier.__all__:
        assert getattr(rectifier, name) is not None
    assert rectifier.swish is rectifier.silu
    for name, activation in ALL.items():
        assert getattr(rectifier, name) is activation
        assert activation.__name__ == name


BLOCKS = ["piecewise", "sigmoids", "exponentials", "periodic", "gates", "rowwise", "reductions", "losses"]


@pytest.mark.parametrize("file", BLOCKS)
def test_every_block_of_a_catalogue_file_is_in_its_all(file):
    module = importlib.import_module(f"rectifier.catalogue.{file}")
    for name in ALL:
        assert getattr(rectifier, name) is ALL[name]  # completed
    blocks = {name for name, value in vars(module).items() if hasattr(value, "spec")}
    assert set(module.__all__) <= blocks <= {*ALL, *LOSSES}  # gates are made of other files' functions


def test_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert version("rectifier") == rectifier.__version__


NEEDS = {
    "rectifier.backends.array_api.jax": "jax",
    "rectifier.backends.array_api.torch": "torch",
    "rectifier.backends.dask": "dask",
    "rectifier.backends.cupy.calls": "cupy",
    "rectifier.backends.cupy.recorded": "cupy",
    "rectifier.backends.numba": "numba",
    "rectifier.backends.labelled.polars": "polars",
    "rectifier.backends.labelled.pyarrow": "pyarrow",
    "rectifier.compat.onnx": "onnx",
    "rectifier.compat.thinc": "thinc",
}  # what a module imports that nothing else does


def modules():
    names = [module.name for module in pkgutil.walk_packages(rectifier.__path__, "rectifier.")]
    assert len(names) > 15
    return ["rectifier", *names]


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_run(name):
    for prefix, library in NEEDS.items():
        if name.startswith(prefix):
            pytest.importorskip(library)
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", CATALOGUE)
def test_composed_docstrings_are_numpydoc_and_run(name):
    activation = CATALOGUE[name]
    calls = [activation, *(getattr(activation, method) for method in METHODS)]
    for call in calls:
        text = inspect.getdoc(call)
        assert text.splitlines()[0].endswith(".")
        for section in ("Parameters", "Returns", "Raises", "Notes"):
            assert f"\n{section}\n{'-' * len(section)}\n" in text
        for parameter in inspect.signature(call).parameters:
            if parameter in ("y", "mask") and parameter not in activation.spec.backward_from:
                continue
            assert re.search(rf"^{parameter}(, \w+)? : ", text, re.MULTILINE), (
                f"{call.__qualname__} does not document {parameter}"
            )
    examples = doctest.DocTestFinder().find(activation, name, module=False, globs={})
    assert sum(len(example.examples) for example in examples) >= 3
    assert all(doctest.DocTestRunner().run(example).failed == 0 for example in examples)


METHODS = ("derivative", "backward", "value_and_derivative", "with_mask", "vjp")


@pytest.mark.parametrize("name", CATALOGUE)
def test_signatures_are_alike(name):
    activation = CATALOGUE[name]
    parameters = list(activation.spec.parameters)
    assert list(inspect.signature(activation).parameters) == ["x", "out", *parameters]
    for method in METHODS:
        first = ["dy", "x", "out", "y", "mask"] if method == "backward" else ["x", "out"]
        signature = inspect.signature(getattr(activation, method))
        assert list(signature.parameters) == [*first, *parameters]
        for parameter in parameters:
            assert signature.parameters[parameter].kind is inspect.Parameter.KEYWORD_ONLY
            assert signature.parameters[parameter].default == activation.spec.parameters[parameter]


def fenced(path: str, language: str) -> list[str]:
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / path).read_text(), re.DOTALL)
    assert blocks, f"{path} has no {language} block"
    return blocks


def test_readme_examples_run():
    for block in fenced("README.md", "python"):
        run = run_python(block)
        assert run.returncode == 0, run.stderr


def test_contributing_recipe_adds_a_function(tmp_path):
    """What CONTRIBUTING.md says to append to a catalogue file, appended to one of a copy of the package, works."""
    import shutil

    shutil.copytree(ROOT / "src" / "rectifier", tmp_path / "rectifier")
    block, use = fenced("CONTRIBUTING.md", "python")
    file = tmp_path / "rectifier" / "catalogue" / "piecewise.py"
    text = file.read_text()
    name = re.search(r"^def (\w+)\(x", block, re.MULTILINE)[1]
    file.write_text(text.replace("__all__ = [", f'__all__ = ["{name}", ') + "\n\n" + block)
    run = run_python(f"{use}\nimport rectifier; print(rectifier.__file__)", PYTHONPATH=str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert str(tmp_path) in run.stdout


def test_the_types_for_editors_are_current():
    from rectifier.tools import stubs

    assert stubs.FILE.read_text() == stubs.text(), "python -m rectifier.tools.stubs writes them"
    assert "negative_slope: Any = 0.01" in stubs.text()
    for name in rectifier.__all__:
        assert re.search(
            rf"^(from .* import {name} as {name}|from \. import {name} as {name}|{name}: )", stubs.text(), re.M
        )
