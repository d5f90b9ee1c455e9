"""What the engine survives: forks, many callers, an exit in a call, signals, too little of anything."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from conftest import PATIENCE, assert_same, numbers, run_python
from rectifier import leaky_relu, relu, settings
from rectifier.engine import process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="helper threads are for Linux")

# The control words of the process, and every call shared whatever it costs.
PRELUDE = """
import ctypes, os, signal, sys, threading, time, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # what forks here may say
import numpy as np
import rectifier
from rectifier import leaky_relu, relu, settings, warmup
from rectifier.engine import process; from rectifier.engine.runtime import layout
warmup(relu)
words = process.words()
control = words.control
x = np.random.default_rng(0).standard_normal(1_000_000, dtype="f4")
right = np.maximum(x, 0)
def start():
    settings.threads = max(2, settings.threads)
    words.start_from = words.wake_from = words.parallel_from = 0
    for _ in range(20):
        assert np.array_equal(relu(x), right)
    words.parallel_from = words.wake_from = 0  # the start measured, and set them
    return control.helpers
def helped(calls=20):
    '''Count in how many of some series of calls a helper had a processor.'''
    spent = 0
    for _ in range(calls):
        before = ticks_of_helpers()
        for _ in range(30):
            relu(x)
        spent += ticks_of_helpers() > before
    return spent
def ticks_of_each():
    '''Give the nanoseconds of processor time that each helper has had.'''
    times = []
    while control.started < control.helpers:  # a call does not wait long for a helper to begin
        time.sleep(0.001)
    for h in range(1, control.helpers + 1):
        with open(f"/proc/self/task/{control.tasks[h]}/schedstat") as file:
            times.append(int(file.read().split()[0]))
    return times
def ticks_of_helpers():
    return sum(ticks_of_each())
def start_as_if_there_were_processors(threads, spin):
    '''Start as many helpers as asked for, where a call would start those for which there is a processor.'''
    settings.threads, settings.spin_microseconds = threads, spin
    words.start_from = words.wake_from = words.parallel_from = 0
    words.measured = words.tries = 1 << 30  # keep to these
    words.check_every = 1 << 44
    control.allowed, control.refused = threads, -1 << 61
    control.checked = ctypes.CFUNCTYPE(ctypes.c_int64)(process.code()["clock"])()
    relu(x)
    return control.helpers
"""


def check(code: str, timeout: float = 60, **environment: str) -> str:
    """Run code after the prelude in a process of its own; it must end well and say nothing on stderr."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", **environment}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout * PATIENCE,
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stderr[-2000:]
    return run.stdout.strip()


def test_large_calls_start_helpers_and_use_them():
    assert check("print(start() >= 1, helped() > 0)") == "True True"


def test_helpers_block_every_signal_and_stay_within_the_caller_s_affinity():
    code = """
start()
for h in range(1, control.helpers + 1):
    task = control.tasks[h]
    with open(f"/proc/self/task/{task}/status") as file:
        blocked = int(next(line.split()[1] for line in file if line.startswith("SigBlk")), 16)
    # The C library keeps two more to itself, which Python does not list either.
    blockable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    assert [number for number in blockable if not blocked >> number - 1 & 1] == []
    assert len(blockable) > 50
    assert os.sched_getaffinity(task) <= os.sched_getaffinity(0)
"""
    check(code)


def test_a_call_does_not_change_the_caller_s_affinity():
    code = """
before = os.sched_getaffinity(0)
for _ in range(5):
    start()
    assert os.sched_getaffinity(0) == before
"""
    for _ in range(5):
        check(code)


def test_a_forked_child_computes_alone_and_then_starts_helpers_of_its_own():
    code = """
start()
stop, wrong = [], []
def work():
    while not stop:
        np.array_equal(relu(x), right) or wrong.append(1)
callers = [threading.Thread(target=work) for _ in range(2)]
[caller.start() for caller in callers]
for _ in range(30):
    child = os.fork()
    if not child:
        ok = control.helpers == 0 and control.door == 0 and control.lock == 0
        ok &= all(np.array_equal(relu(x), right) for _ in range(20))
        os._exit(0 if ok and control.helpers >= 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.append(1)
[caller.join() for caller in callers]
assert not wrong
assert np.array_equal(relu(x), right)
"""
    check(code)


def _square_of_a_large_call(seed: int) -> bool:
    x = np.random.default_rng(seed).standard_normal(500_000, dtype=np.float32)
    return all(np.array_equal(relu(x), np.maximum(x, 0)) for _ in range(5))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_multiprocessing(method):
    assert _square_of_a_large_call(0)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert all(pool.map(_square_of_a_large_call, range(8)))


def test_32_callers():
    xs = [numbers(n, np.dtype("f4"), seed=n) for n in (10, 5000, 300_000, 1_000_003)]
    expected = [(relu(x), relu.backward(x, x), *relu.value_and_derivative(x)) for x in xs]
    wrong = []

    def work(k: int) -> None:
        for i in range(12):
            x, (y, dx, _, d) = xs[(k + i) % 4], expected[(k + i) % 4]
            out = np.empty_like(x)
            v, mask = relu.with_mask(x)
            both = relu.value_and_derivative(x)
            results = [
                (relu(x), y), (relu(x, out=out), y), (v, y), (both[0], y), (both[1], d), (relu.backward(x, x), dx),
                (relu(x[::2]), y[::2]), (relu.backward(y, mask=mask), relu.backward(y, x)),
            ]  # fmt: skip
            wrong.extend(1 for ours, theirs in results if ours.tobytes() != theirs.tobytes())

    callers = [threading.Thread(target=work, args=(k,)) for k in range(32)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.parametrize("end", ["pass", "sys.exit()", "os._exit(0)", "import atexit; atexit.register(relu, x)"])
def test_the_interpreter_ends_in_the_middle_of_calls(end):
    code = f"""
start()
big = np.ones(20_000_000, "f4")
for _ in range(3):
    threading.Thread(target=lambda: [relu(big) for _ in range(1000)], daemon=True).start()
time.sleep(0.2)
{end}
"""
    for _ in range(2):
        check(code)


def test_an_interrupt_in_a_large_call_arrives_after_it():
    code = """
start()
big, out = np.ones(20_000_000, "f4"), np.zeros(20_000_000, "f4")
caught = 0
for k in range(5):
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        end = time.time() + 20
        while time.time() < end:
            relu(big, out=out)
    except KeyboardInterrupt:
        caught += 1
    assert out.all()
print(caught, np.array_equal(relu(x), right))
"""
    assert check(code) == "5 True"


@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_beside_the_threads_of_numba(layer):
    pytest.importorskip("numba")
    code = """
import numba
@numba.njit(parallel=True)
def twice(a):
    b = np.empty_like(a)
    for i in numba.prange(a.size):
        b[i] = 2 * a[i]
    return b
try:
    with warnings.catch_warnings(record=True):  # of a version that is too old
        twice(x)
except ValueError as error:
    assert "No threading layer" in str(error)
    print("no layer")
    raise SystemExit
assert numba.threading_layer() == LAYER
for _ in range(5):
    assert np.array_equal(twice(x), 2 * x) and np.array_equal(relu(x), right)
start()
stop, wrong = [], []
def work():
    while not stop:
        np.array_equal(relu(x), right) or wrong.append(1)
caller = threading.Thread(target=work)
caller.start()
for _ in range(20):
    assert np.array_equal(twice(x), 2 * x)
stop.append(1)
caller.join()
assert not wrong
print(control.helpers)
"""
    said = check(
        code.replace("LAYER", repr(layer)),
        timeout=120 * PATIENCE,
        NUMBA_THREADING_LAYER=layer,
        NUMBA_DISABLE_PERFORMANCE_WARNINGS="1",
    )
    if said == "no layer":
        pytest.skip(f"Numba finds no library for its threading layer {layer}")
    assert int(said) >= 1


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_inside_dask(scheduler):
    dask_array = pytest.importorskip("dask.array")
    x = numbers(2_000_000, np.dtype("f4"))
    lazy = relu(dask_array.from_array(x, chunks=250_000))
    if scheduler == "threads":
        assert_same(lazy.compute(scheduler="threads"), relu(x))
    else:
        code = (
            "import numpy as np, dask.array as da\nfrom rectifier import relu\n"
            "x = np.random.default_rng(0).standard_normal(1_000_000, dtype='f4')\n"
            "if __name__ == '__main__':\n"
            "    y = relu(da.from_array(x, chunks=250_000)).compute(scheduler='processes', num_workers=2)\n"
            "    print(np.array_equal(y, np.maximum(x, 0)))\n"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100 * PATIENCE)
        assert run.stdout.strip() == "True", run.stderr


def test_dask_s_threads_in_a_child_that_is_forked_after_helpers_have_started():
    pytest.importorskip("dask.array")
    code = """
import multiprocessing
import dask.array as da
def work(k):
    assert control.helpers == 0
    for _ in range(5):
        y = da.from_array(x, chunks=100_000).map_blocks(relu).compute(scheduler="threads", num_workers=4)
        assert np.array_equal(y, right)
    assert control.helpers >= 1
assert start() >= 1
context = multiprocessing.get_context("fork")
for _ in range(3):
    children = [context.Process(target=work, args=(k,)) for k in range(2)]
    [child.start() for child in children]
    assert np.array_equal(relu(x), right)
    [child.join(30) for child in children]
    print([child.exitcode for child in children])
assert helped() > 0
"""
    assert check(code) == "[0, 0]\n[0, 0]\n[0, 0]"


def test_a_change_of_affinity_is_followed():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor")
    code = """
start()
every = os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(every)})
time.sleep(0.01)
relu(x)
narrow = helped(3)
os.sched_setaffinity(0, every)
time.sleep(0.01)
relu(x)
print(narrow, helped() > 0)
"""
    assert check(code) == "0 True"


def test_a_process_that_may_run_on_one_processor_starts_no_helper():
    code = """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(start())
"""
    assert check(code) == "0"


def test_where_no_thread_can_be_had_calls_are_serial():
    code = """
refuse = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(lambda *arguments: 11)  # EAGAIN
words.thread_create = ctypes.cast(refuse, ctypes.c_void_p).value
print(start(), control.refused != 0)
"""
    assert check(code) == "0 True"


def test_helpers_are_started_later_when_the_system_has_refused_a_thread():
    """It is asked again after a thousand times what passes between two looks at the affinity: a second."""
    code = """
import resource
if os.getuid() == 0:  # whom no limit binds
    os.setresuid(65534, 65534, 65534)
_, most = resource.getrlimit(resource.RLIMIT_NPROC)
resource.setrlimit(resource.RLIMIT_NPROC, (0, most))
try:
    threading.Thread(target=int).start()
    print("no limit")
    raise SystemExit
except RuntimeError:
    pass
while_refused = start()
refused = control.refused
resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
print(while_refused, refused != 0, end=" ")
end = time.time() + 10
while control.helpers == 0 and time.time() < end:
    assert np.array_equal(relu(x), right)
later = ctypes.CFUNCTYPE(ctypes.c_int64)(process.code()["clock"])() - refused
same = control.refused == refused
print(control.helpers >= 1, same, later > 1000 * words.check_every, end=" ")
print(helped() > 0)
"""
    said = check(code)
    if said == "no limit":
        pytest.skip("the system refuses no thread")
    assert said == "0 True True True True True"


def test_a_failed_allocation_is_a_memory_error_and_leaves_nothing():
    code = """
import resource
from rectifier import memory
start()
big = np.ones(40_000_000, "f4")
before = memory.statistics()
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
resource.setrlimit(resource.RLIMIT_AS, (used + 64 * 2**20, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        relu(big)
    except MemoryError:
        print("MemoryError")
after = memory.statistics()
assert (after.live_blocks, after.live_bytes) == (before.live_blocks, before.live_bytes)
assert np.array_equal(relu(x), right)
"""
    assert check(code) == "MemoryError\nMemoryError\nMemoryError"


def test_without_executable_memory_numpy_takes_over_with_one_warning():
    code = """
import ctypes, warnings, numpy as np
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN: Linux 6.3
    raise SystemExit("not here")
from rectifier import relu
x = np.linspace(-1, 1, 1001, dtype="f4")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        assert np.array_equal(relu(x), np.maximum(x, 0))
print(len(caught), caught[0].category.__name__)
"""
    run = run_python(code)
    if "not here" in run.stderr:
        pytest.skip("the system cannot deny it")
    assert run.stdout.strip() == "1 RuntimeWarning", run.stderr


def test_one_thread_means_one():
    assert check("settings.threads = 1\nfor _ in range(50): relu(x)\nprint(control.helpers)") == "0"
    code = "start()\nsettings.threads = 1\nrelu(x)\ntime.sleep(0.05)\nprint(helped(3))"  # they spin for a while
    assert check(code) == "0"
    assert check("print(settings.threads)", RECTIFIER_THREADS="1") == "1"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RECTIFIER_THREADS", "0"), ("RECTIFIER_THREADS", "two"), ("RECTIFIER_THREADS", "1000000"),
        ("RECTIFIER_SPIN_MICROSECONDS", "-1"), ("RECTIFIER_SPIN_MICROSECONDS", "nan"), ("RECTIFIER_POOL_BYTES", "much"),
    ],
)  # fmt: skip
def test_what_a_variable_cannot_mean_is_refused_by_its_name(variable, value):
    run = run_python("from rectifier import settings; settings.reasons()", **{variable: value})
    assert run.returncode == 1
    assert f"ValueError: {variable} is '{value}'; it takes" in run.stderr


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("threads", 0, ValueError), ("threads", True, TypeError), ("threads", 1.5, TypeError),
        ("threads", 10**6, ValueError), ("spin_microseconds", -1, ValueError), ("spin_microseconds", "5", TypeError),
        ("spin_microseconds", 1e300, ValueError), ("pool_bytes", -1, ValueError), ("pool_bytes", "1MiB", TypeError),
    ],
)  # fmt: skip
def test_what_a_setting_cannot_mean_is_refused(name, value, error):
    before = getattr(settings, name)
    with pytest.raises(error, match=f"{name.split('_')[0]}|bound"):
        setattr(settings, name, value)
    assert getattr(settings, name) == before


def test_an_idle_process_uses_no_processor():
    code = """
start()
time.sleep(0.1)
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before < 0.02)
"""
    assert check(code) == "True"


@pytest.mark.parametrize(("spin", "spins"), [("0", False), ("100000", True)])
def test_a_helper_spins_after_a_call_as_long_as_the_environment_says(spin, spins):
    code = """
start()
spent = []
for _ in range(10):
    for _ in range(10):
        relu(x)
    time.sleep(0.005)
    before = ticks_of_helpers()
    time.sleep(0.03)
    spent.append(ticks_of_helpers() - before)
print(settings.spin_microseconds, sorted(spent)[len(spent) // 2])
"""
    setting, spent = map(float, check(code, RECTIFIER_SPIN_MICROSECONDS=spin).split())
    assert setting == float(spin)
    assert spent > 5e6 if spins else spent == 0


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="sets the x86 control word")
def test_a_helper_keeps_subnormals_whatever_the_caller_does():
    code = """
start()
libm = ctypes.CDLL("libm.so.6")
environment = (ctypes.c_uint8 * 32)()
libm.fegetenv(environment)
environment[28:32] = (int.from_bytes(bytes(environment[28:32]), "little") | 0x8040).to_bytes(4, "little")
tiny = np.full(1_000_000, 1e-40, "f4")
slope = np.float32(0.5)
expected = leaky_relu(-tiny, negative_slope=0.5).tobytes()
libm.fesetenv(environment)
results = {leaky_relu(-tiny, negative_slope=0.5).tobytes() for _ in range(50)}
libm.fesetenv(ctypes.c_void_p(-1))
print(results == {expected}, expected != bytes(4_000_000))
"""
    assert check(code) == "True True"


@pytest.fixture
def everything_is_shared():
    """Share every call, whatever it costs, and stream every result or none."""
    settings.threads = max(2, settings.threads)
    for _ in range(40):
        relu(np.ones(1_000_000, np.float32))
    words = process.words()
    before = words.read("start_from", "wake_from", "parallel_from", "stream_from", "learn_from", "threads")
    words.learn_from = 1 << 62
    words.start_from = words.wake_from = words.parallel_from = 0
    words.threads = max(2, words.threads)
    yield words
    words.write(**before)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("dtype_name", ["float16", "float32", "float64"])
def test_bits_do_not_depend_on_chunks_threads_or_streaming(everything_is_shared, streaming, dtype_name):
    room = numbers(200_100, np.dtype(dtype_name))
    table = room[:200_000].reshape(2000, 100)
    row, column = (np.linspace(-1, 2, n).astype(dtype_name) for n in (100, 2000))
    column = column[:, None]
    everything_is_shared.threads = 1
    whole, d = relu(room), relu.derivative(room)
    by_row, by_column = leaky_relu(table, negative_slope=row), leaky_relu(table, negative_slope=column)
    flags = relu.with_mask(room)[1].to_array()
    everything_is_shared.threads = 2
    everything_is_shared.stream_from = 1 if streaming else 1 << 62
    for n in (1, 63, 1023, 1024, 1025, 4095, 4097, 8192, 40_961, 65_537, 200_000):
        for start in (0, 1, 7, 33):
            x = room[start : start + n]
            assert_same(relu(x), whole[start : start + n])
            both = relu.value_and_derivative(x)
            assert_same(both[0], whole[start : start + n])
            assert_same(both[1], d[start : start + n])
            y, mask = relu.with_mask(x)
            assert_same(y, whole[start : start + n])
            assert np.array_equal(mask.to_array(), flags[start : start + n])
            here = flags[start : start + n]
            assert_same(relu.backward(x, mask=mask), np.where(here, x, x.dtype.type(0)))
    for rows in (1, 3, 41, 700, 2000):
        x = table[:rows]
        assert_same(leaky_relu(x, negative_slope=row), by_row[:rows])
        assert_same(leaky_relu(x[:, :-1], negative_slope=row[:-1]), by_row[:rows, :-1])
        assert_same(leaky_relu(x.T, negative_slope=row[:, None]), by_row[:rows].T)
        assert_same(leaky_relu(x, negative_slope=column[:rows]), by_column[:rows])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("behind", [1, 3, 1000])
def test_an_output_that_follows_behind_its_input_is_as_if_computed_in_order(everything_is_shared, behind, streaming):
    """NumPy lets it pass without a copy; another thread would write over what is still to be read."""
    x = np.arange(1, 300_001, dtype=np.float32)
    everything_is_shared.threads = 2
    everything_is_shared.stream_from = 1 if streaming else 1 << 62
    for _ in range(20):
        room = x.copy()
        relu.ufunc(room[behind:], out=room[:-behind])
        assert_same(room[:-behind], x[behind:])
        assert_same(room[-behind:], x[-behind:])


STRESS = """
assert start_as_if_there_were_processors(THREADS, SPIN) == THREADS - 1
small = np.random.default_rng(1).standard_normal(9000, dtype="f4")
expected, out = np.maximum(small, 0), np.empty_like(small)
calls = wrong = 0
before, end = ticks_of_each(), time.time() + SECONDS
while time.time() < end:
    for _ in range(100):
        out.fill(7)
        relu(small, out=out)
        wrong += out.tobytes() != expected.tobytes()
    calls += 100
print(calls, wrong, sum(now > then for now, then in zip(ticks_of_each(), before)))
"""


@pytest.mark.parametrize("spin", [0, 100])
@pytest.mark.parametrize("helpers", [1, 2, 4])
@pytest.mark.parametrize("seconds", [1, pytest.param(60, marks=pytest.mark.slow)])
def test_stress_by_more_helpers_than_processors_too(helpers, spin, seconds):
    code = STRESS.replace("THREADS", str(helpers + 1)).replace("SPIN", str(spin)).replace("SECONDS", str(seconds))
    calls, wrong, ran = map(int, check(code, timeout=seconds + 60).split())
    print(f"{helpers} helpers, spin {spin} us: {calls} calls, {wrong} wrong, {ran} helpers ran")
    assert wrong == 0
    assert calls > 500 * seconds
    assert ran == helpers
