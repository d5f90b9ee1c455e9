"""The compiled engine and the NumPy reading: the same bits, and each a whole engine."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import subprocess
import sys
import sysconfig
import threading
from functools import partial

import ml_dtypes
import numpy as np
import pytest

from conftest import BACKENDS, FLOATS, INTEGERS, STAND_INS, assert_same, numbers, run_python, settings_of
from rectifier import elementwise, memory, relu, settings
from rectifier.catalogue import CATALOGUE, GATES, ROWWISE
from rectifier.engine import capi, casting, choice, options, ufuncs
from rectifier.engine.runtime import layout
from rectifier.formulas import T, where
from rectifier.functions.dtypes import FORMATS
from rectifier.testing import dtype_of, special_values

EXACT = [name for name, activation in CATALOGUE.items() if activation.spec.ulp.float32 == 0]


def of_both_engines(name, activation_dtype):
    """Give a function of either engine, and all numbers of a dtype of 16 bits, or many."""
    dtype = dtype_of(activation_dtype)
    if dtype.itemsize <= 2:
        x = np.arange(1 << 8 * dtype.itemsize).astype(f"u{dtype.itemsize}").view(dtype)
    else:
        bits = np.frombuffer(np.random.default_rng(0).bytes(dtype.itemsize << 14), dtype)
        x = np.concatenate([numbers(1 << 14, dtype), bits])
    return (*(getattr(BACKENDS[backend], name) for backend in ("llvm", "numpy")), x)


@pytest.mark.parametrize("dtype_name", [*FLOATS, *INTEGERS])
@pytest.mark.parametrize("name", EXACT)
def test_compiled_and_numpy_agree_bit_for_bit(name, dtype_name):
    compiled, reading, x = of_both_engines(name, dtype_name)
    block = compiled.spec
    if "int" in dtype_name and not block.selects and name != "leaky_relu":
        pytest.skip("integers become floats, which leaky_relu shows")
    dy = x[::-1].copy()
    with np.errstate(all="ignore"):
        for settings in settings_of(compiled)[: None if name in STAND_INS else 2]:
            assert_same(compiled(x, **settings), reading(x, **settings))
            assert_same(compiled.derivative(x, **settings), reading.derivative(x, **settings))
            assert_same(compiled.backward(dy, x, **settings), reading.backward(dy, x, **settings))
            for ours, theirs in zip(
                compiled.value_and_derivative(x, **settings), reading.value_and_derivative(x, **settings), strict=True
            ):
                assert_same(ours, theirs)
            if "mask" not in block.backward_from:
                continue
            (y, mask), (z, other) = compiled.with_mask(x, **settings), reading.with_mask(x, **settings)
            assert_same(y, z)
            assert np.array_equal(mask.bits, other.bits)
            assert_same(compiled.backward(dy, mask=mask, **settings), reading.backward(dy, mask=other, **settings))


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in EXACT])
def test_where_numpy_rounds_for_itself_the_engines_agree_nearly(name):
    """In float64; in the other dtypes both keep to the block's bound (test_family)."""
    compiled, reading = (getattr(BACKENDS[backend], name) for backend in ("llvm", "numpy"))
    block = compiled.spec
    rng = np.random.default_rng(0)
    x = np.concatenate([
        special_values("float64"), rng.uniform(-40, 40, 20_000), rng.uniform(-700, 700, 2000),
        np.exp(rng.uniform(-700, 700, 2000)), -np.exp(rng.uniform(-700, 6, 2000)),
    ])  # fmt: skip
    with np.errstate(all="ignore"):
        for what in ("value", "derivative"):
            actual, expected = ((f if what == "value" else f.derivative)(x) for f in (reading, compiled))
            beyond = ~np.isfinite(expected)
            assert_same(actual[beyond], expected[beyond])
            # A product of factors is not subnormal where one of them is.
            distance = np.abs(actual - expected)[~beyond] / np.maximum(
                np.spacing(np.abs(expected[~beyond])), 2.0**-1074
            )
            zeros = block.crossings if what == "value" else block.zeros
            near_zero = np.any([np.abs(x[~beyond] - zero) < 0.1 for zero in (*zeros, np.inf)], axis=0)
            if (name, what) == ("snake", "derivative"):  # it has a zero in each turn
                near_zero |= expected[~beyond] < 0.01
            far = (distance > 2**10) & ~near_zero
            assert not far.any(), (what, x[~beyond][far], distance[far])
            assert (np.abs(actual - expected)[~beyond][near_zero] < 2.0**-48).all()


def test_the_engines_are_what_they_are_called():
    assert choice.engine()[0] == "llvm"
    relu(np.ones(3, "f4"))
    compiled = [loop for loop in ufuncs._loops.values() if loop.compiled]
    assert compiled
    code = (
        "import sys, numpy as np, rectifier; from rectifier.engine.choice import engine;"
        "assert rectifier.relu(np.array([-1., 2.])).tolist() == [0, 2];"
        "print(engine(), 'numba' in sys.modules)"
    )
    assert run_python(code, RECTIFIER_ENGINE="numpy").stdout.strip() == "('numpy', 'RECTIFIER_ENGINE=numpy') False"


def test_a_float_has_the_code_by_which_compiled_code_knows_its_dtype():
    codes = {"float16": layout.HALF, "bfloat16": layout.BFLOAT, "float32": layout.SINGLE, "float64": layout.DOUBLE}
    assert {name: row.code for name, row in FORMATS.items() if row.code} == codes


@pytest.mark.parametrize("name", FLOATS)
def test_the_table_of_dtypes_is_right_about_floats(name):
    row, found = FORMATS[name], ml_dtypes.finfo(dtype_of(name))
    assert (row.bits, row.exponent, row.significand) == (found.bits, found.nexp, found.nmant + 1)
    assert 2.0**row.smallest == float(found.smallest_subnormal)


def python_run_by(ufunc, *arguments, **keywords):
    """Call a ufunc, and list the Python functions that run meanwhile."""
    names: list[str] = []
    sys.setprofile(lambda frame, event, _: names.append(frame.f_code.co_name) if event == "call" else None)
    try:
        ufunc(*arguments, **keywords)
    finally:
        sys.setprofile(None)
    return names


UFUNCS = {
    "value": lambda package: package.relu.ufunc,
    "derivative": lambda package: package.relu.derivative.ufunc,
    "backward": lambda package: package.leaky_relu.backward.ufunc,
    "both": lambda package: package.leaky_relu.value_and_derivative.ufunc,
}


@pytest.mark.parametrize("name", [*FLOATS, "int8", "int64", "longlong"])
@pytest.mark.parametrize("operation", UFUNCS)
def test_no_python_runs_in_a_second_call_of_a_ufunc(operation, name):
    """Whatever NumPy keeps of a loop, the compiled one has taken the place of the callback that compiled it."""
    ufunc, interpreted = (UFUNCS[operation](package) for package in BACKENDS.values())
    dtype = dtype_of(name) if name != "longlong" else np.dtype("q")
    x = np.arange(-50, 50).astype(dtype)
    operands = [x] * ufunc.nin
    first = ufunc(*operands)
    out = tuple(np.empty_like(y) for y in (first if ufunc.nout > 1 else (first,)))
    assert python_run_by(ufunc, *operands) == []
    assert python_run_by(ufunc, *operands, where=x > 0, out=out) == []
    assert_same(ufunc(*operands), first)
    assert "_first_call" in python_run_by(interpreted, *operands)


def positive_or(x, rest=0.0):
    return where(x > T(0), x, rest)


def positive_or_derivative(x, rest):
    return where(x > T(0), T(1), T(0))


def one_for_nan(x):
    return where(x != x, T(1), where((x < T(0)) | (x > T(2)), T(3), x))


def one_for_nan_derivative(x):
    return where(x != x, T(0), T(1))


@pytest.mark.parametrize("dtype_name", FLOATS)
def test_comparisons_of_nan_are_those_of_python(dtype_name):
    made = elementwise(exact=lambda m, x: x, special=(), ulp=0)(one_for_nan)
    made.derivative(one_for_nan_derivative)
    dtype = dtype_of(dtype_name)
    x = np.tile(np.array([np.nan, -1, -0.0, 0.5, 2, 3, np.inf, -np.inf], dtype), 9)[:70]
    expected = np.tile(np.array([1, 3, -0.0, 0.5, 2, 3, 3, 3], dtype), 9)[:70]
    assert_same(made(x), expected)
    assert_same(made.derivative(x), np.tile(np.array([0, 1, 1, 1, 1, 1, 1, 1], dtype), 9)[:70])
    assert made.methods["value"].loops[dtype_name].compiled


@pytest.mark.parametrize("first", ["at", "accumulate", "where", "outer"])
def test_no_python_runs_after_a_first_call_of_any_kind(first, monkeypatch):
    """Also where NumPy does not read its table of loops again, as from 2.6 on: here it was given a copy of ours."""
    make = capi.from_func_and_data

    def with_a_copy(table, plans, types, loops, *rest):
        kind = ctypes.c_void_p * loops
        ufuncs._immortal.append(kind.from_buffer_copy(kind.from_address(table)))
        return make(ctypes.addressof(ufuncs._immortal[-1]), plans, types, loops, *rest)

    monkeypatch.setattr(capi, "from_func_and_data", with_a_copy)
    made = elementwise(exact=lambda m, x, rest: m.where(x > 0, x, rest), special=(), ulp=0)(positive_or)
    made.derivative(positive_or_derivative)
    ufunc, x = made.ufunc, np.arange(-3.0, 4.0)
    calls = {
        "at": (ufunc.at, x.copy(), [0, 1], 5.0),
        "accumulate": (ufunc.accumulate, x),
        "where": (partial(ufunc, where=x < 2, out=np.empty(7)), x, 5.0),
        "outer": (ufunc.outer, x, x),
    }

    assert "_first_call" in python_run_by(*calls[first])
    assert not any("_first_call" in python_run_by(*call) for call in calls.values())  # NumPy may ask for a promotion
    assert {way: python_run_by(*call) for way, call in calls.items()} == {way: [] for way in calls}
    assert ufunc(x, 5.0).tolist() == [5, 5, 5, 5, 1, 2, 3]


def test_threads_that_first_cast_at_once_share_the_casts(monkeypatch):
    """A compiled call keeps the address of those that it was made with; others would never be of use to it."""
    both = threading.Barrier(2, timeout=60)

    class Casts(casting.Casts):
        def __init__(self, target):
            super().__init__(target)
            both.wait()

    monkeypatch.setattr(casting, "Casts", Casts)
    found = []
    threads = [threading.Thread(target=lambda: found.append(casting.casts_to(np.dtype("g")))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is found[1] is casting.casts_to(np.dtype("g"))


FIRST_CALLS_OF_UFUNCS = """
import threading, numpy as np
from rectifier import leaky_relu
from rectifier.engine import ufuncs
x = np.linspace(-1, 1, 3001)
some = np.arange(x.size) % 3 > 0
wrong, go = [], threading.Barrier(8)
def work(k):
    ufunc = (leaky_relu, leaky_relu.derivative)[k % 2].ufunc
    right = np.where(x > 0, 1 if k % 2 else x, 0.5 if k % 2 else x * 0.5)
    go.wait()
    for _ in range(30):
        y = ufunc(x, 0.5, where=some, out=np.full(x.size, 7.0))
        if not np.array_equal(y, np.where(some, right, 7)) or not np.array_equal(ufunc(x, 0.5), right):
            wrong.append(k)
threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(wrong, sum(bool(loop.compiled) for loop in ufuncs._loops.values()))
"""


def test_first_calls_of_ufuncs_from_many_threads():
    result = run_python(FIRST_CALLS_OF_UFUNCS)
    assert result.stdout.strip() == "[] 2", result.stderr


def test_an_unknown_engine_is_refused():
    result = run_python("import rectifier", RECTIFIER_ENGINE="fortran")
    assert result.returncode == 1
    assert "RECTIFIER_ENGINE is 'fortran'; it takes llvm or numpy" in result.stderr


WITHOUT_LLVMLITE = """
import sys, warnings, numpy as np
sys.modules["llvmlite"] = None
import rectifier
x = np.array([-1., 2.], "f4")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert rectifier.relu(x).tolist() == [0, 2]
    assert rectifier.relu.derivative(x).tolist() == [0, 1]
    assert rectifier.relu.with_mask(x)[1].count() == 1
print([str(w.message) for w in caught])
from rectifier.engine.choice import engine
print(engine())
"""


def test_without_llvmlite_numpy_takes_over_with_one_warning():
    result = run_python(WITHOUT_LLVMLITE, RECTIFIER_STORE="off")
    assert result.returncode == 0, result.stderr
    warning, engine = result.stdout.splitlines()
    assert warning.count("rectifier computes every function with NumPy") == 1
    assert engine.startswith("('numpy', 'llvmlite cannot be imported")


FAILING_KERNEL = """
import warnings, numpy as np, rectifier
from rectifier.engine.compiler import kernels
def fail(*arguments):
    raise RuntimeError("no executable memory")
kernels.compile_kernel = fail
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        assert rectifier.relu(np.array([-1., 2.])).tolist() == [0, 2]
assert len(caught) == 1, caught
print(caught[0].message)
"""


def test_a_kernel_that_does_not_compile_is_interpreted_with_one_warning():
    result = run_python(FAILING_KERNEL, RECTIFIER_STORE="off")
    assert result.returncode == 0, result.stderr
    assert (
        "relu.value in float64 with NumPy, slower than compiled (RuntimeError: no executable memory)" in result.stdout
    )


INTERRUPTED = """
import os, signal, time, numpy as np, rectifier
from rectifier.engine import choice, ufuncs
class Alarm(Exception): pass
def handler(number, frame):
    raise {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit, signal.SIGALRM: Alarm}[number]
signal.signal(signal.SIGNAL, handler)
x = -np.ones(1000)
import threading
try:
    threading.Timer(DELAY, os.kill, (os.getpid(), signal.SIGNAL)).start()
    rectifier.leaky_relu(x)
    outside = True
    time.sleep(10)
except (KeyboardInterrupt, SystemExit, Alarm) as error:
    came = type(error).__name__
assert (rectifier.leaky_relu(x) == -0.01).all()
assert (rectifier.leaky_relu.derivative(x) == 0.01).all()
print(came, choice.engine()[0], sum(bool(loop.compiled) for loop in ufuncs._loops.values()))
"""


# Each signal, each delay and each engine; in the slow tier, each with each, since each compiles an engine anew.
INTERRUPTIONS = {
    ("SIGINT", 0.5, "llvm"),
    ("SIGTERM", 0.8, "llvm"),
    ("SIGALRM", 0.2, "llvm"),
    ("SIGINT", 0.0, "numpy"),
}


def interruptions():
    for case in itertools.product(("SIGINT", "SIGTERM", "SIGALRM"), (0.0, 0.2, 0.5, 0.8), ("llvm", "numpy")):
        yield pytest.param(*case, marks=() if case in INTERRUPTIONS else pytest.mark.slow)


@pytest.mark.parametrize(("name", "delay", "engine"), list(interruptions()))
def test_what_a_signal_raises_in_a_first_call_is_raised_there_and_leaves_a_usable_process(name, delay, engine):
    came = {"SIGINT": "KeyboardInterrupt", "SIGTERM": "SystemExit", "SIGALRM": "Alarm"}[name]
    code = INTERRUPTED.replace("DELAY", str(delay)).replace("SIGNAL", name)
    result = run_python(code, RECTIFIER_ENGINE=engine, RECTIFIER_STORE="off")
    assert result.stdout.strip() == f"{came} {engine} {2 if engine == 'llvm' else 0}", result.stderr
    assert not result.stderr


RAISING_CALLBACK = """
import time, numpy as np, rectifier
from rectifier.engine import ufuncs
def fail(*arguments):
    raise MemoryError("no room")
ufuncs.interpret = fail
for call in (rectifier.relu, rectifier.relu.value_and_derivative, rectifier.relu.derivative):
    try:
        call(np.ones(3))
    except MemoryError as error:
        print(error)
try:
    rectifier.relu.ufunc(np.ones(3))
    for _ in range(1000):
        time.sleep(0.01)
except MemoryError:
    print("soon after")
"""


def test_what_a_callback_raises_reaches_the_caller():
    result = run_python(RAISING_CALLBACK, RECTIFIER_ENGINE="numpy")
    assert result.stdout.splitlines() == ["no room"] * 3 + ["soon after"], result.stderr


SLOWLY_RAISING_CALLBACK = """
keep = ufuncs.keep
def keep_slowly(error):
    keep(error)
    time.sleep(0.3)
ufuncs.keep = keep_slowly
"""


def test_what_a_callback_raises_is_raised_by_the_call_however_long_that_takes():
    """Raised sooner, in the middle of something else, it could be lost, as in the callback of a weak reference."""
    code = RAISING_CALLBACK.replace("for call in", SLOWLY_RAISING_CALLBACK + "for call in").partition("\ntry:")[0]
    result = run_python(code, RECTIFIER_ENGINE="numpy")
    assert result.stdout.splitlines() == ["no room"] * 3, result.stderr
    assert not result.stderr


FORK_WHILE_COMPILING = """
import os, threading, time, numpy as np, rectifier
from rectifier.engine.compiler import kernels
compile_kernel = kernels.compile_kernel
started = threading.Event()
def slow(*arguments):
    started.set()
    kernel = compile_kernel(*arguments)
    time.sleep(0.3)
    return kernel
kernels.compile_kernel = slow
thread = threading.Thread(target=rectifier.relu, args=(np.ones(3),))
thread.start()
started.wait()
child = os.fork()
if not child:
    right = rectifier.relu(-np.ones(3)).tolist() == [0, 0, 0] and rectifier.relu.derivative(np.ones(1)) == 1
    os._exit(0 if right else 1)
thread.join()
print(os.waitpid(child, 0)[1])
"""


def test_a_fork_while_another_thread_compiles():
    result = run_python(FORK_WHILE_COMPILING, RECTIFIER_STORE="off")
    assert result.stdout.strip() == "0", result.stderr


LOCKS_OVER_A_FORK = """
import os, threading, time
from rectifier.engine import forks
abandoned = []
short, long = forks.Lock(5, lambda: abandoned.append(0)), forks.Lock(0.1, lambda: abandoned.append(1))
own = forks.Lock()
taken, leave = threading.Barrier(3), threading.Event()
def briefly():
    with short:
        taken.wait()
        time.sleep(0.3)
def for_good():
    with long:
        taken.wait()
        leave.wait()
threads = [threading.Thread(target=work) for work in (briefly, for_good)]
[t.start() for t in threads]
taken.wait()
with own:  # the forking thread's, in the child as in the parent
    child = os.fork()
    free = child or [lock.acquire(timeout=0) for lock in (short, long, own)]
if not child:
    os._exit(free == [True] * 3 and abandoned == [1])
leave.set()
[t.join() for t in threads]
free = []
thread = threading.Thread(target=lambda: free.extend(lock.acquire(timeout=0) for lock in (short, long, own)))
thread.start()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), free, abandoned)
"""


def test_no_forked_child_finds_a_lock_that_a_thread_of_its_parent_holds():
    result = run_python(LOCKS_OVER_A_FORK)
    assert result.stdout.strip() == "1 [True, True, True] []", result.stderr


def test_an_option_set_in_code_rules_the_environment_and_acts_once():
    seen = []
    option = options.Option(
        "threads", "1 or 2", int, lambda name, value: value, (1, 2).__contains__, lambda: (1, "default")
    )
    option.acts.append(lambda: seen.append(option.in_force()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECTIFIER_THREADS", "3")
        with pytest.raises(ValueError, match="RECTIFIER_THREADS is '3'; it takes 1 or 2"):
            option.in_force()
        patch.setenv("RECTIFIER_THREADS", " 2 ")
        assert option.in_force() == (2, "RECTIFIER_THREADS")
        with pytest.raises(ValueError, match="threads is 5; it takes 1 or 2"):
            option.set(5)
        option.set(1)
    assert seen == [option.in_force()] == [(1, "set in code")]


def test_the_bound_of_the_pool_is_one_option_however_it_is_set():
    before = settings.pool_bytes
    try:
        memory.set_bound(12345)
        assert settings.pool_bytes == memory.bound() == 12345
        settings.pool_bytes = 54321
        assert memory.bound() == 54321
        for wrong, error in ((-1, ValueError), (1.5, TypeError), ("1", TypeError)):
            with pytest.raises(error, match="pool_bytes"):
                memory.set_bound(wrong)
        assert settings.pool_bytes == 54321
    finally:
        settings.pool_bytes = before


def test_first_calls_from_many_threads():
    code = (
        "import threading, numpy as np, rectifier; from rectifier.engine.compiler import kernels;"
        "compile_kernel, compiled = kernels.compile_kernel, [];"
        "kernels.compile_kernel = lambda *a: compiled.append(1) or compile_kernel(*a);"
        "x = np.linspace(-1, 1, 100001, dtype='f4'); wrong = [];"
        "go = threading.Barrier(8);"
        "work = lambda: (go.wait(), [np.array_equal(rectifier.leaky_relu(x), np.where(x > 0, x, x * np.float32(0.01)))"
        " or wrong.append(1) for _ in range(20)]);"
        "threads = [threading.Thread(target=work) for _ in range(8)];"
        "[t.start() for t in threads]; [t.join() for t in threads]; print(wrong, len(compiled))"
    )
    result = run_python(code, RECTIFIER_STORE="off")
    assert result.stdout.strip() == "[] 1", result.stderr


FIRST_CALLS_OF_MANY_FUNCTIONS = """
import sys, threading, numpy as np
from rectifier import leaky_relu, relu, softmax
x = np.random.default_rng(0).standard_normal((37, 301)).astype("f4")
large = np.tile(x, (4, 4))
calls = {
    "value": (lambda: relu(x), np.maximum(x, np.float32(0))),
    "transposed": (lambda: relu(large.T), np.maximum(large.T, np.float32(0))),
    "mask": (lambda: relu.backward(x, mask=relu.with_mask(x)[1]), np.where(x > 0, x, np.float32(0))),
    "other byte order": (lambda: relu(x.astype(">f4")), np.maximum(x, np.float32(0))),
    "two dtypes": (lambda: relu.backward(x.astype("f8"), x), np.where(x > 0, x.astype("f8"), 0)),
    "ufunc": (lambda: leaky_relu.ufunc(x, np.float32(0.5)), np.where(x > 0, x, x / 2)),
    "rows": (lambda: softmax(0 * large), np.full_like(large, 1 / large.shape[1])),
}
wrong, go = [], threading.Barrier(2 * len(calls))
def work(name):
    call, expected = calls[name]
    go.wait()
    for _ in range(5):
        y = call()
        if not np.allclose(y, expected, rtol=1e-7, atol=0):
            wrong.append(name)
threads = [threading.Thread(target=work, args=(name,)) for name in [*calls, *calls]]
[t.start() for t in threads]; [t.join() for t in threads]
print(wrong, getattr(sys, "_is_gil_enabled", lambda: True)())
"""


def test_first_calls_of_many_functions_at_once():
    """Also on free-threaded Python, whose lock none of this switches on."""
    result = run_python(FIRST_CALLS_OF_MANY_FUNCTIONS)
    locked = not sysconfig.get_config_var("Py_GIL_DISABLED")
    assert (result.stdout.strip(), result.stderr) == (f"[] {locked}", "")


def test_many_threads_call_at_once():
    x = numbers(50_000, np.dtype("f4"))
    expected = relu(x)
    _, mask = relu.with_mask(x)
    dx = relu.backward(x, mask=mask)
    wrong = []

    def work():
        for _ in range(50):
            same = relu(x).tobytes() == expected.tobytes() and relu.backward(x, mask=mask).tobytes() == dx.tobytes()
            wrong.extend([] if same else [1])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_unwritable_home_and_cache_work(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    closed = str(tmp_path / "closed")
    result = run_python(
        "import numpy as np, rectifier; print(rectifier.relu(np.array([-1., 2.])).tolist())",
        HOME=closed, XDG_CACHE_HOME=closed, NUMBA_CACHE_DIR=f"{closed}/numba",
    )  # fmt: skip
    assert result.stdout.strip() == "[0.0, 2.0]", result.stderr


def test_a_forked_child_computes():
    code = (
        "import os, numpy as np, rectifier;"
        "x = np.linspace(-1, 1, 1000); y = rectifier.relu(x);"
        "child = os.fork();"
        "right = lambda: (rectifier.relu(x) == y).all() and (rectifier.relu.derivative(x) == (x > 0)).all();"
        "child or os._exit(0 if right() else 1);"
        "print(os.waitpid(child, 0)[1])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "0", result.stderr


OPERATIONS = relu.spec.operations


def some_kernels():
    """List value in float32 of every function and two or three others: of each kind of function, all that there are."""
    assert len(OPERATIONS) == 6
    done, kinds = [], {}
    for name, activation in CATALOGUE.items():
        block = activation.spec
        dtypes = [*FLOATS, "int8", "int32"] if block.selects else FLOATS
        pairs = [
            (operation, dtype)
            for operation in OPERATIONS
            for dtype in dtypes
            if "mask" not in operation or "mask" in block.backward_from
        ]
        kind = kinds.setdefault((block.wide, block.selects, "mask" in block.backward_from), list(pairs))
        taken = pairs if name in STAND_INS else [("value", "float32")]
        while name not in STAND_INS and len(taken) < 4:
            taken.append(kind.pop(0))
            kind.append(taken[-1])
        done += [pytest.param(name, *pair, id="-".join([name, *pair])) for pair in dict.fromkeys(taken)]
    assert {case.values[1:] for case in done} == {(d, t) for d in OPERATIONS for t in (*FLOATS, "int8", "int32")}
    wide = {case.values[1:] for case in done if CATALOGUE[case.values[0]].spec.wide}
    assert wide == {(d, t) for d in OPERATIONS if "mask" not in d for t in FLOATS}
    return done


def assert_vector_code(code: str) -> None:
    assert re.search(r"store <\d+ x [a-z0-9]+>", code)
    assert not re.findall(r"= f(?:mul|add|sub|div|cmp) (?:fast|nnan|ninf|nsz|contract|reassoc)", code)
    assert not re.findall(r"= f(?:mul|add|sub|div|neg) (?:half|float|double) ", code)  # of one element
    assert " @llvm.fmuladd" not in code


@pytest.mark.parametrize(("name", "operation", "dtype_name"), some_kernels())
def test_kernels_are_vector_code(name, operation, dtype_name):
    from rectifier.engine.compiler import kernels

    block = CATALOGUE[name].spec
    code = str(kernels.compile_kernel(block, OPERATIONS[operation], dtype_name).module)
    assert_vector_code(code)
    if block.wide:
        assert_nothing_is_called(code)
        stored = {"float16": "i16", "bfloat16": "i16", "float32": "float", "float64": "double"}[dtype_name]
        assert re.search(rf"store <\d+ x {stored}>", code)
        computed = re.findall(r"= f(?:mul|add|sub|div) <\d+ x (\w+)>", code)
        assert set(computed) == {"float" if block.single and dtype_name != "float64" else "double"}


def assert_nothing_is_called(code: str) -> None:
    """A call of a function, as of libm, would leave the vector; llvm's are instructions."""
    called = set(re.findall(r"\bcall\b[^@\n]*@([\w.]+)", code))
    own = set(re.findall(r"^define [^@\n]*@([\w.]+)", code, re.MULTILINE))
    assert not {name for name in called - own if not name.startswith("llvm.")}
    assert not re.search(r"\bcall\b[^@\n]*%\w+\(", code)


def test_no_pointer_is_made_of_nothing():
    """LLVM 22 compiles some code wrongly in which it made ``getelementptr`` on null or poison of integers' pointers."""
    from rectifier.engine import memory, process
    from rectifier.engine.compiler import casts, kernels, rowkernels

    modules = [process.build("call"), process.build("call_rows"), memory.build()]
    modules += [casts.build("int16", True, "float32"), casts.build("float32", False, "float64")]
    modules += [kernels.compile_kernel(CATALOGUE[n].spec, OPERATIONS[o], d) for n, o, d in some_of_each_operation()]
    modules += [rowkernels.compile_kernel(ROWWISE["softmax"].spec, backward, "float32") for backward in (False, True)]
    pointers = 0
    for module in modules:
        code = str(module.module)
        pointers += code.count("getelementptr")
        assert not re.search(r"getelementptr [^\n]*ptr (?:null|poison|undef)", code)
        assert not re.search(r"(?:load|store) [^\n]*ptr (?:null|poison|undef)", code)
    assert pointers > 100


def some_of_each_operation():
    for operation in OPERATIONS:
        name = next(name for name in CATALOGUE if operation in CATALOGUE[name].spec.operations)
        yield name, operation, "float32"
        yield ("relu" if operation in CATALOGUE["relu"].spec.operations else name), operation, "bfloat16"


@pytest.mark.parametrize("name", GATES)
def test_gates_are_vector_code(name):
    from rectifier.engine.compiler import kernels

    for operation in GATES[name].spec.operations.values():
        code = str(kernels.compile_kernel(GATES[name].spec, operation, "float32").module)
        assert_vector_code(code)
        assert_nothing_is_called(code)


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="sets the x86 control word")
@pytest.mark.parametrize("state", ["flush-to-zero", "upward", "toward-zero", "divide-traps"])
def test_the_caller_s_floating_point_state_does_not_matter(state):
    """In a process of its own: numba's own code runs in whatever state the thread has."""
    code = f"""
import ctypes, numpy as np
from rectifier import relu, leaky_relu
slope = {{"negative_slope": float(np.float32(0.01))}}  # NumPy rounds the parameter itself in the caller's state
x = np.concatenate([np.array([1e-40, -1e-40, 1e-45, -3, -1.1, 3, np.nan, np.inf, -np.inf, 3e38], 'f4')] * 20)
dy = x[::-1].copy()
_, mask = leaky_relu.with_mask(x, **slope)
with np.errstate(over='ignore'):
    half = x.astype('f2')
def results():
    return [leaky_relu(x, **slope), leaky_relu.derivative(x, **slope), leaky_relu.backward(dy, x, **slope),
            leaky_relu.backward(dy, mask=mask, **slope), leaky_relu.with_mask(x, **slope)[0], relu(x), relu(x[::3]),
            leaky_relu(half, negative_slope=0.25), *relu.value_and_derivative(x)]
expected = [r.tobytes() for r in results()]
libm = ctypes.CDLL('libm.so.6')
environment = (ctypes.c_uint8 * 32)()
libm.fegetenv(environment)
control = int.from_bytes(bytes(environment[28:32]), 'little')
control |= {{'flush-to-zero': 0x8040, 'upward': 0x4000, 'toward-zero': 0x6000, 'divide-traps': 0}}['{state}']
control &= ~0x200 if '{state}' == 'divide-traps' else -1
environment[28:32] = control.to_bytes(4, 'little')
control_before = control & ~0x3f
libm.fesetenv(environment)
actual = results()
libm.fegetenv(environment)
control_after = int.from_bytes(bytes(environment[28:32]), 'little') & ~0x3f
libm.fesetenv(ctypes.c_void_p(-1))
print([r.tobytes() for r in actual] == expected, control_before == control_after)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "True True", result.stderr
