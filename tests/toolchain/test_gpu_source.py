"""The CUDA C++ that a formula becomes: what it says, and what the compiler of a GPU makes of it."""

from __future__ import annotations

import doctest
import itertools
import os
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import rectifier
from conftest import require_gpu_tier, run_python
from rectifier import elementwise, rowwise
from rectifier.backends.cupy import source
from rectifier.catalogue import ALL
from rectifier.formulas import T, exp, sqrt, where
from rectifier.functions.dtypes import FORMATS
from rectifier.functions.specification import VALUE_AND_DERIVATIVE, Rowwise
from rectifier.tools.bench.recipe import KERNELS
from rectifier.tools.gpu_day.speed import COPY

CASES = [(name, dtype) for name in ALL for dtype in ALL[name].spec.dtypes]
PLAIN = [name for name in ALL if not isinstance(ALL[name].spec, Rowwise) and not ALL[name].spec.wide]
assert len(CASES) >= 36 * 4 + 5 * 8
each = pytest.mark.parametrize("name", ALL)


def test_source_needs_neither_cupy_nor_a_gpu():
    code = "import sys, rectifier; print(len(rectifier.gelu.cuda_source()) > 9000, 'cupy' in sys.modules)"
    assert run_python(code).stdout.strip() == "True False"


@each
def test_every_direction_has_a_source_with_its_kernel(name):
    function = ALL[name]
    for operation in function.spec.operations:
        text = function.cuda_source("float32", direction=operation)
        assert f"void {name}_{operation}_float32" in text
    assert function.cuda_source(np.dtype("f2")) == function.cuda_source("float16", "value")


def test_the_example_of_the_documentation_is_right():
    finder = doctest.DocTestFinder().find(rectifier.relu.cuda_source, "cuda_source", module=False, globs={})
    assert sum(len(test.examples) for test in finder) == 3
    assert all(doctest.DocTestRunner().run(test).failed == 0 for test in finder)


def test_what_has_no_source_is_refused():
    with pytest.raises(TypeError, match=r"gelu\.cuda_source: int8 is none of its dtypes: float16, float32"):
        rectifier.gelu.cuda_source("int8")
    with pytest.raises(ValueError, match=r"gelu\.cuda_source: direction 'with_mask' is none of value, derivative"):
        rectifier.gelu.cuda_source("float32", "with_mask")
    with pytest.raises(ValueError, match="direction 'derivative' is none of value, backward"):
        rectifier.softmax.cuda_source("float32", "derivative")


@pytest.mark.parametrize("name", PLAIN)
def test_literals_have_the_type_of_the_arithmetic(name):
    for operation in ALL[name].spec.operations.values():
        text = source.element(ALL[name].spec, operation, "float32").text
        assert not re.search(r"\d\.\d+(?!\d*f)|double", text), text
        assert "double" in source.element(ALL[name].spec, operation, "float64").text


def test_each_operation_is_written_once():
    text = source.element(rectifier.silu.spec, VALUE_AND_DERIVATIVE, "float32").text
    operations = re.findall(r"const .* = (.*);", text)
    assert len(operations) == len(set(operations)) > 30


@elementwise(exact=lambda m, x, n, k: m.where(x > 0, x * n, k), special=(), ulp=2)
def odd_names(x, n=2.0, k=0.5):
    """Return n x where x is positive, k elsewhere."""
    return where(x > T(0), x * n, k * exp(T(0) * x))


@odd_names.derivative
def odd_names_derivative(x, n, k):
    return where(x > T(0), n, T(0))


def test_a_formula_of_your_own_may_call_its_parameters_anything():
    require_gpu_tier("cupy")
    import nvrtc

    for dtype in ("float16", "float32", "float64"):
        text = odd_names.cuda_source(dtype)
        assert "widen(t" not in text  # exp is of the type of the others
        assert list(nvrtc.ptx(text, "80")) == [f"odd_names_value_{dtype}"]


def test_the_sum_of_two_arrays_is_rounded_before_the_function():
    require_gpu_tier("cupy")
    import nvrtc

    function = rectifier.gelu.of_sum
    assert "from_float16(to_float16(" in function.cuda_source("float16")
    assert (
        "to_float32"
        not in source.element(function.spec, function.spec.operations["value"], "float32").text.split("y_")[0]
    )
    for operation in ("value", "backward"):
        assert list(nvrtc.ptx(function.cuda_source("bfloat16", operation), "80")) == [
            f"gelu_of_sum_{operation}_bfloat16"
        ]


def test_rows_in_pairs_refuse_what_pairs_lack():
    @rowwise(exact=lambda m, x: x, ulp=(1, 4), single=True)
    def rooted(x, peak, e, rest):
        """Return the root of e."""
        return sqrt(e)

    rooted.weight(lambda dy, y: dy)
    rooted.backward(lambda dy, y, total: dy * total)
    with pytest.raises(TypeError, match="pairs of float32 have no sqrt: leave single=True out of the block"):
        rooted.cuda_source("float32")
    assert "sqrt" in rooted.cuda_source("float64")


@pytest.fixture(scope="module")
def compile_all():
    """Make a function that compiles many programs, two at a time."""
    require_gpu_tier("cupy")

    def run(compile_, jobs):
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return dict(zip(jobs, pool.map(lambda job: compile_(*job), jobs), strict=True))

    return run


def program(name, dtype):
    from cuda_host import parts

    return source.program(*parts(ALL[name].spec, dtype))


def require_sound(name: str, dtype: str, kernels: dict[str, str]) -> None:
    """Assert what holds of the PTX of the kernels of a function in a dtype."""
    block = ALL[name].spec
    assert len(kernels) >= 2
    for kernel, code in kernels.items():
        assert ".local" not in code, f"{kernel} keeps arrays in local memory"
        # What is nearly a reciprocal is of no subnormal number.
        assert ".ftz" not in code.replace("rcp.approx.ftz.f32", ""), f"{kernel} flushes subnormal numbers"
        if dtype != "float64" and (block.single or not (block.wide or isinstance(block, Rowwise))):
            assert ".f64" not in code, f"{kernel} computes in float64"
        if isinstance(block, Rowwise):
            continue
        assert not re.search(r"\b(min|max)\.(NaN\.)?f", code), f"{kernel} loses NaN, or the sign of 0"
        if "_with_mask_" not in kernel:
            arrays = code.partition(")")[0].count(".u64") - 1 - ("_from_mask_" in kernel)
            vector, number = r"global\.(?:v4\.[bfu]32|v2\.[bfu]64)", r"global\.[bfsu]\d+"
            loads, stores = (len(re.findall(f"{verb}.{vector}", code)) for verb in ("ld", "st"))
            assert loads >= 1 <= stores, f"{kernel} loads or stores no vectors"
            assert loads + stores <= arrays
            # One number is stored for what is left, and a vector is taken apart where an array lies otherwise.
            length = 16 * 8 // FORMATS[dtype].bits
            assert len(re.findall(f"st.{number}", code)) == stores * (1 + length), f"{kernel} takes a vector apart"


def some_cases():
    """List each function in float32 and, by turns, in another of its dtypes; the slow tier takes each in all."""
    turns = itertools.count()
    for name in ALL:
        others = [dtype for dtype in ALL[name].spec.dtypes if dtype != "float32"]
        yield name, "float32"
        yield name, others[next(turns) % len(others)]


SOME = list(some_cases())
assert {dtype for _, dtype in SOME} >= {"float16", "bfloat16", "float32", "float64"}
assert any("int" in dtype for _, dtype in SOME)


@pytest.fixture(scope="module")
def compiled(compile_all):
    """Compile the kernels of each function, for the oldest and the newest of the processors by turns."""
    import nvrtc
    from cuda_host import MUTANT

    jobs = list(zip(*zip(*SOME, strict=True), itertools.cycle([nvrtc.ARCHITECTURES[k] for k in (0, -1)]), strict=False))
    if MUTANT in os.environ:
        jobs = [
            job for job in jobs if job[:2] in (("leaky_relu", "float32"), ("silu", "float32"), ("softmax", "float32"))
        ]
    return compile_all(lambda name, dtype, architecture: nvrtc.ptx(program(name, dtype), architecture), jobs)


@each
def test_every_kernel_compiles_as_cupy_compiles_it(name, compiled):
    found = [(dtype, kernels) for (function, dtype, _), kernels in compiled.items() if function == name]
    assert len(found) == 2 or len(compiled) < len(SOME)
    for dtype, kernels in found:
        require_sound(name, dtype, kernels)


@pytest.mark.slow
def test_every_kernel_compiles_for_every_architecture_and_keeps_all_in_registers(compile_all):
    import nvrtc

    def check(name, dtype, architecture):
        text = program(name, dtype)
        require_sound(name, dtype, nvrtc.ptx(text, architecture))
        return nvrtc.resources(text, architecture)

    jobs = [(*case, architecture) for case in CASES for architecture in nvrtc.ARCHITECTURES]
    count = 0
    for job, kernels in compile_all(check, jobs).items():
        assert kernels, job
        for kernel, (registers, stack, spilled) in kernels.items():
            assert (stack, spilled) == (0, 0), (kernel, job)
            assert registers <= 128, (kernel, job)
            count += 1
    print(f"{count} kernels")


def test_the_largest_kernels_keep_all_in_registers(compile_all):
    import nvrtc

    names = ["gelu", "mish", "geglu", "log_softmax"]
    jobs = [(name, "float64", arch) for name, arch in zip(names, nvrtc.ARCHITECTURES, strict=False)]
    for job, kernels in compile_all(lambda n, d, a: nvrtc.resources(program(n, d), a), jobs).items():
        assert len(kernels) >= 2, job
        assert all(used[1:] == (0, 0) for used in kernels.values()), (job, kernels)


def test_kernels_for_any_strides_compile_as_cupy_compiles_them(compile_all):
    import nvrtc

    from rectifier.backends.cupy import launch

    def compile_(name, operation, dtype, architecture):
        block = ALL[name].spec
        found = block.operations[operation]
        inputs, outputs = source.operands(block, found, dtype, (True,) * len(block.uniform))
        stored = "uint16" if dtype in ("float16", "bfloat16") else dtype
        kernel = launch._elementwise(block, found, dtype)
        code, log = nvrtc.compiled(nvrtc.elementwise_code(kernel, [stored] * len([*inputs, *outputs])), architecture)
        assert not log
        return code.decode()

    turns = zip(itertools.cycle(nvrtc.ARCHITECTURES), itertools.cycle(rectifier.functions.dtypes.FLOATS), strict=True)
    names = [name for name in ALL if not isinstance(ALL[name].spec, Rowwise)]
    jobs = [(name, "backward", *next(turns)[::-1]) for name in names]
    for (name, _, dtype, _), code in compile_all(compile_, jobs).items():
        assert ".entry" in code
        if name in PLAIN and dtype != "float64":
            assert ".f64" not in code, name
            assert ".ftz" not in code, name


@pytest.mark.parametrize("dtype_name", ["float16", "float32"])
def test_the_kernels_of_the_benchmark_compile(dtype_name):
    cupy = require_gpu_tier("NVRTC")
    import nvrtc

    dtype, cpp = dtype_name, "float" if dtype_name == "float32" else dtype_name
    for (name, operation), text in KERNELS.items():
        inputs = f"{dtype} x" if operation != "backward" else f"{dtype} x, {dtype} dy"
        kernel = cupy.ElementwiseKernel(inputs, f"{dtype} r", f"r = {text.replace('(T)', f'({cpp})')}", f"{name}_rival")
        code, log = nvrtc.compiled(nvrtc.elementwise_code(kernel, [dtype] * kernel.nargs), "90")
        assert (b".entry" in code, log) == (True, ""), (name, operation, log)
        assert b".f64" not in code


def test_the_copy_that_ours_is_set_beside_moves_16_bytes_a_thread():
    require_gpu_tier("NVRTC")
    import nvrtc

    code, log = nvrtc.compiled(COPY, "90")
    assert log == ""
    assert {b"ld.global.v4.u32", b"st.global.v4.u32"} <= set(code.split())
