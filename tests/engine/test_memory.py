"""The pool of outputs: no live page is handed out twice, nothing is held beyond the bound, and nothing is lost."""

from __future__ import annotations

import ctypes
import doctest
import inspect
import os
import pickle
import random
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from conftest import run_python
from rectifier import memory
from rectifier.engine import capi, limits, options, store
from rectifier.engine import memory as pool
from rectifier.engine.compiler import optimise, subset, target
from rectifier.engine.compiler.instructions import call2, call3, load
from rectifier.engine.compiler.instructions import store as store_word
from rectifier.engine.runtime import pool_layout

MIB = 2**20
PAGE = os.sysconf("SC_PAGE_SIZE")

pytestmark = pytest.mark.skipif(pool.handler() is None, reason="no mmap on this system")


@pytest.fixture(autouse=True)
def _roomy_and_empty():
    before = memory.bound()
    memory.set_bound(256 * MIB)
    memory.clear()
    yield
    memory.set_bound(before)
    memory.clear()


@contextmanager
def pooled():
    before = capi.set_handler(pool.handler())
    try:
        yield
    finally:
        capi.set_handler(before)


def empty(nbytes: int) -> np.ndarray:
    with pooled():
        return np.empty(nbytes, np.uint8)


def length_of(nbytes: int) -> int:
    return -(-(nbytes + pool_layout.HEADER) // PAGE) * PAGE


def allocator():
    """Give the functions of the handler, and what to call them with."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return capi.Handler.from_address(pointer(pool.handler(), b"mem_handler")).allocator


# What an output is


@pytest.mark.parametrize("nbytes", [1, 100, MIB - 1, MIB, MIB + 1, 2 * MIB, 4 * MIB, 100_000_000])
def test_an_output_owns_its_memory_which_begins_a_cache_line(nbytes):
    x = empty(nbytes)
    assert x.flags.owndata
    assert x.base is None
    assert x.ctypes.data % 64 == 0
    x[:] = 1
    assert x.sum(dtype=np.int64) == nbytes


def test_an_output_of_some_huge_pages_begins_at_one():
    for nbytes in (4 * MIB, 4 * MIB + 5, 33_333_333):
        assert (empty(nbytes).ctypes.data - pool_layout.HEADER) % pool_layout.HUGE_PAGE == 0


def test_zeros_are_zero_in_memory_that_was_used():
    for nbytes in (1000, 2 * MIB, 20 * MIB):
        used = empty(nbytes)
        used[:] = 255
        where = used.ctypes.data
        del used
        with pooled():
            x = np.zeros(nbytes, np.uint8)
        assert not x.any()
        if nbytes >= MIB:
            assert x.ctypes.data == where


def test_calloc_refuses_a_product_that_wraps():
    a = allocator()
    calloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)(a.calloc)
    assert calloc(a.ctx, 2**33, 2**31) is None
    assert calloc(a.ctx, 2**63, 1) is None
    assert calloc(a.ctx, 1, 2**64 - 1) is None


@pytest.mark.parametrize("before", [10, MIB // 2, 3 * MIB, 40 * MIB])
@pytest.mark.parametrize("after", [1, MIB // 3, 2 * MIB, 3 * MIB + 99, 90 * MIB])
def test_a_resize_keeps_the_numbers_and_adds_zeros(before, after):
    live = memory.statistics().live_blocks
    x = empty(before)
    pattern = np.resize(np.arange(251, dtype=np.uint8), before)
    x[:] = pattern
    x.resize(after, refcheck=False)
    kept = min(before, after)
    assert np.array_equal(x[:kept], pattern[:kept])
    assert not x[kept:].any()
    assert x.ctypes.data % 64 == 0
    del x
    assert memory.statistics().live_blocks == live


def test_a_resize_to_less_gives_pages_back():
    before = memory.statistics().live_bytes
    x = empty(64 * MIB)
    x.resize(16 * MIB, refcheck=False)
    assert memory.statistics().live_bytes - before == length_of(16 * MIB)


# What is reused


def test_the_memory_of_a_dead_array_serves_the_next_and_is_counted():
    start = memory.statistics()
    x = empty(8 * MIB)
    where = x.ctypes.data
    alive = memory.statistics()
    assert alive.misses == start.misses + 1
    assert alive.live_bytes == start.live_bytes + length_of(8 * MIB)
    assert alive.live_blocks == start.live_blocks + 1
    assert alive.peak_bytes >= alive.live_bytes
    del x
    held = memory.statistics()
    assert (held.held_bytes, held.held_blocks) == (length_of(8 * MIB), 1)
    assert held.live_bytes == start.live_bytes
    x = empty(8 * MIB - MIB // 2)
    assert x.ctypes.data == where
    assert memory.statistics().hits == start.hits + 1
    assert memory.statistics().held_bytes == 0


@pytest.mark.parametrize("hold", [lambda x: x[5:9], memoryview, lambda x: x.reshape(2, -1).T, lambda x: [x]])
def test_memory_is_not_reused_while_anything_sees_it(hold):
    x = empty(4 * MIB)
    x[:] = 7
    where, seen = x.ctypes.data, hold(x)
    del x
    assert memory.statistics().held_blocks == 0
    y = empty(4 * MIB)
    assert y.ctypes.data != where
    y[:] = 8
    assert np.all(np.asarray(seen) == 7)
    del seen
    assert memory.statistics().held_blocks == 1


def test_the_best_fit_is_taken_and_much_larger_memory_is_not():
    small, middle, large = empty(8 * MIB), empty(9 * MIB), empty(64 * MIB)
    fits = middle.ctypes.data
    del small, middle, large
    x = empty(8 * MIB + MIB // 2)
    assert x.ctypes.data == fits
    misses = memory.statistics().misses
    y = empty(20 * MIB)
    assert memory.statistics().misses == misses + 1
    assert (x.nbytes, y.nbytes) == (8 * MIB + MIB // 2, 20 * MIB)


def test_of_equal_blocks_the_one_that_was_freed_last_is_taken():
    first, second = empty(4 * MIB), empty(4 * MIB)
    where = first.ctypes.data
    del second
    del first
    assert empty(4 * MIB).ctypes.data == where


def test_a_second_free_of_the_same_memory_does_nothing():
    a = allocator()
    malloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(a.malloc)
    free = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(a.free)
    pointer = malloc(a.ctx, 4 * MIB)
    for _ in range(3):
        free(a.ctx, pointer, 1)  # a wrong size, too
    free(a.ctx, None, 0)
    assert memory.statistics().held_blocks == 1
    two = [malloc(a.ctx, 4 * MIB) for _ in range(2)]
    assert two[0] != two[1]
    for pointer in two:
        free(a.ctx, pointer, 4 * MIB)


# What bounds it


def test_the_bound_is_never_exceeded():
    rng = random.Random(1)
    memory.set_bound(24 * MIB)
    alive = []
    for _ in range(2000):
        if alive and rng.random() < 0.5:
            alive.pop(rng.randrange(len(alive)))
        else:
            alive.append(empty(rng.randrange(MIB, 12 * MIB)))
        del alive[12:]
        assert memory.statistics().held_bytes <= 24 * MIB
    assert memory.statistics().held_blocks > 0


def test_what_does_not_fit_pushes_out_the_oldest():
    memory.set_bound(20 * MIB)
    arrays = [empty(6 * MIB) for _ in range(4)]
    where = [x.ctypes.data for x in arrays]
    for k in (2, 0, 3, 1):  # 2 goes when 1 comes
        arrays[k] = None
    assert memory.statistics().held_blocks == 3
    again = [empty(6 * MIB) for _ in range(3)]
    assert [x.ctypes.data for x in again] == [where[k] for k in (1, 3, 0)]


def test_what_is_larger_than_the_bound_is_not_held():
    memory.set_bound(20 * MIB)
    kept = empty(5 * MIB)
    del kept
    large = empty(21 * MIB)
    del large
    assert memory.statistics().held_bytes == length_of(5 * MIB)


def test_no_more_blocks_are_held_than_the_table_has_slots():
    arrays = [empty(MIB) for _ in range(pool_layout.SLOTS + 10)]
    newest = arrays[-1].ctypes.data
    while arrays:
        arrays.pop(0)
    assert memory.statistics().held_blocks == pool_layout.SLOTS
    assert empty(MIB).ctypes.data == newest


def test_a_lower_bound_takes_effect_at_once_and_0_switches_the_pool_off():
    arrays = [empty(10 * MIB) for _ in range(4)]
    del arrays
    assert memory.statistics().held_blocks == 4
    memory.set_bound(25 * MIB)
    assert memory.bound() == 25 * MIB
    assert memory.statistics().held_blocks == 2
    memory.set_bound(0)
    assert memory.statistics().held_bytes == 0
    assert pool.settings().bound == 0
    x = empty(10 * MIB)
    x[:] = 1
    del x
    assert memory.statistics().held_bytes == 0
    memory.set_bound(25 * MIB)
    assert pool.settings().bound == 25 * MIB


def test_clear_gives_everything_back_and_says_how_much():
    alive = empty(3 * MIB)
    alive[:] = 3
    dead = [empty(5 * MIB), empty(6 * MIB)]
    del dead
    assert memory.clear() == length_of(5 * MIB) + length_of(6 * MIB)
    assert memory.clear() == 0
    assert memory.statistics().held_bytes == 0
    assert np.all(alive == 3)


@pytest.mark.parametrize(("wrong", "error"), [(-1, ValueError), (1.5, TypeError), ("1MiB", TypeError)])
def test_a_bound_that_is_no_number_of_bytes_is_refused(wrong, error):
    with pytest.raises(error):
        memory.set_bound(wrong)
    assert memory.bound() == 256 * MIB


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("123", 123), ("5B", 5), ("7kB", 7000), ("256MiB", 256 * MIB), ("256 mib", 256 * MIB), ("1G", 10**9)],
)
def test_the_environment_sets_the_bound(monkeypatch, text, expected):
    monkeypatch.setenv("RECTIFIER_POOL_BYTES", text)
    assert options.POOL_BYTES.requested() == (expected, "RECTIFIER_POOL_BYTES")


@pytest.mark.parametrize("text", ["x", "-1", "1.5G", "12 parsecs", "iB", "5iB", "0x10", "1e9"])
def test_an_environment_without_meaning_is_refused_at_first_use(text):
    code = "from rectifier import memory; memory.statistics(); memory.bound()"
    result = run_python(code, RECTIFIER_POOL_BYTES=text)
    assert f"ValueError: RECTIFIER_POOL_BYTES is {text!r}" in result.stderr


def test_without_a_word_the_bound_is_an_eighth_of_the_memory_at_most_a_gibibyte(monkeypatch):
    monkeypatch.delenv("RECTIFIER_POOL_BYTES", raising=False)
    for sizes, expected in (([4 * 2**30, 2**63], 2**29), ([64 * 2**30], 2**30), ([], 2**30)):
        monkeypatch.setattr(limits, "memory", lambda root="/", sizes=sizes: sizes)
        assert options.POOL_BYTES.requested() is None
        assert options.POOL_BYTES.default()[0] == expected


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_limits_of_memory_come_from_the_machine_and_from_all_control_groups_above(tmp_path):
    assert list(limits.memory(str(tmp_path))) == []
    write(tmp_path, {"proc/meminfo": "MemTotal:  1000 kB\n"})
    assert list(limits.memory(str(tmp_path))) == [1024000]
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/a/b\n0::/s/t\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "300\n",
            "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/s/memory.max": "200\n",
            "sys/fs/cgroup/s/t/memory.max": "max\n",
        },
    )
    assert min(limits.memory(str(tmp_path))) == 200
    assert 300 in limits.memory(str(tmp_path))


# What it must survive


class Register:
    """Where the live arrays are; no two may overlap."""

    def __init__(self) -> None:
        self.live: dict[int, int] = {}
        self.lock = threading.Lock()

    def add(self, x: np.ndarray) -> None:
        start, stop = x.ctypes.data, x.ctypes.data + x.nbytes
        with self.lock:
            assert not any(start < end and begin < stop for begin, end in self.live.items())
            self.live[start] = stop

    def remove(self, x: np.ndarray) -> None:
        with self.lock:
            del self.live[x.ctypes.data]


def churn(seed: int, rounds: int, register: Register) -> None:
    """Make, view, pickle, resize and drop arrays, each full of a number of its own that is looked for again."""
    rng = random.Random(seed)
    alive: list[tuple[object, np.ndarray, int]] = []

    def new(x: np.ndarray, number: int) -> None:
        register.add(x)
        x[:] = number
        keep = rng.choice([lambda x: x, memoryview, lambda x: x[::-1], lambda x: x[3:]])(x)
        alive.append((keep, x, number))

    for count in range(rounds):
        number = seed * 10**6 + count
        action = rng.random()
        if action < 0.45 or not alive:
            new(empty(8 * rng.choice([10, 50_000, 131_072, 140_000, 300_000, 600_000])).view(np.int64), number)
        elif action < 0.55:
            with pooled():
                new(pickle.loads(pickle.dumps(alive[-1][1])), number)
        elif action < 0.65:
            with pooled():
                x = np.empty(rng.randrange(1, 300_000), np.int64)
                x[:] = number
                kept = min(x.size, size := rng.randrange(1, 300_000))
                x.resize(size, refcheck=False)
            assert np.all(x[:kept] == number)
            assert not x[kept:].any()
            new(x, number)
        else:
            keep, x, expected = alive.pop(rng.randrange(len(alive)))
            assert np.all(np.asarray(keep) == expected)
            assert np.all(x == expected)
            register.remove(x)
            del keep, x
        while len(alive) > 6:
            _, x, expected = alive.pop(0)
            assert np.all(x == expected)
            register.remove(x)
            del x
    for keep, x, expected in alive:
        assert np.all(x == expected)
        assert np.all(np.asarray(keep) == expected)
        register.remove(x)


@pytest.mark.parametrize("threads", [1, 4])
def test_no_live_page_is_handed_out_twice(threads):
    memory.set_bound(12 * MIB)
    register, errors = Register(), []
    live = memory.statistics().live_blocks

    def work(seed: int) -> None:
        try:
            churn(seed, 600, register)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    statistics = memory.statistics()
    assert statistics.hits > 50 * threads
    assert statistics.live_blocks == live
    assert statistics.held_bytes <= 12 * MIB


def stress(malloc: int, free: int, settings: int, tag: int, rounds: int) -> int:
    """Take two blocks, write to both, look, and give them back, in turn: for translation."""
    wrong = 0
    for i in range(rounds):
        a = call2(malloc, settings, (1 << 20) + (i % 3 << 18))
        b = call2(malloc, settings, 1 << 20)
        store_word(a, 0, tag + i)
        store_word(b, 0, -tag - i)
        store_word(a, 100_000, tag - i)
        if load(a, 0) != tag + i or load(b, 0) != -tag - i or load(a, 100_000) != tag - i:
            wrong += 1
        call3(free, settings, a if i & 1 else b, 0)
        call3(free, settings, b if i & 1 else a, 0)
    return wrong


def test_threads_without_the_interpreter_lock_get_each_page_once():
    module, names = subset.optimised([stress])
    addresses = store._load(optimise.object_of(module, target.host()), {optimise.PREFIX + name for name in names})
    compiled = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 5)(addresses["stress"])
    memory.set_bound(5 * MIB)  # less than the threads use: so blocks are pushed out all the time
    a = allocator()
    live, wrong = memory.statistics().live_bytes, []
    workers = [
        threading.Thread(target=lambda tag=tag: wrong.append(compiled(a.malloc, a.free, a.ctx, tag << 40, 100_000)))
        for tag in range(1, 7)
    ]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        assert memory.statistics().held_bytes <= 5 * MIB
        memory.clear()
        workers[0].join(0.002)
    for worker in workers:
        worker.join()
    assert wrong == [0] * 6
    assert memory.statistics().live_bytes == live


FORKS = """
from __future__ import annotations
import os, pickle, random, threading, warnings
from contextlib import contextmanager
warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, on threads and forks
import numpy as np
from rectifier import memory
from rectifier.engine import capi, memory as pool
{functions}
stop = threading.Event()
failed = []

def work(seed):
    try:
        while not stop.is_set():
            churn(seed, 50, Register())
    except BaseException as error:
        failed.append(error)

kept = [empty(n) for n in (1000, 2**20, 3 * 2**20, 20 * 2**20)]
for k, x in enumerate(kept):
    x[:] = k + 1
del x
workers = [threading.Thread(target=work, args=(seed,)) for seed in range({threads})]
for worker in workers:
    worker.start()

def intact():
    return all(np.all(x == k + 1) for k, x in enumerate(kept))

def child():
    before = memory.statistics()
    assert (before.held_blocks, before.hits, before.misses) == (0, 0, 0), before
    assert intact()
    for x in kept:
        x[:] = 99
    del x
    churn(7, 100, Register())
    blocks = memory.statistics().live_blocks
    kept.clear()
    assert memory.statistics().live_blocks == blocks - 4
    if {depth}:
        grandchild = os.fork()
        if grandchild == 0:
            churn(8, 50, Register())
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 0
    churn(9, 50, Register())

for turn in range({forks}):
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    churn(6, 20, Register())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert intact()
stop.set()
for worker in workers:
    worker.join()
assert not failed, failed
print("intact")
"""


@pytest.mark.parametrize("threads", [0, 2])
def test_parent_and_child_of_a_fork_keep_their_arrays_and_share_no_page(threads):
    functions = "\n".join(map(inspect.getsource, (pooled, empty, Register, churn)))
    result = run_python(
        FORKS.format(functions=functions, threads=threads, forks=8, depth=1), RECTIFIER_POOL_BYTES="64MiB"
    )
    assert (result.stdout, result.stderr, result.returncode) == ("intact\n", "", 0)


def test_a_fork_finds_an_empty_pool():
    x = empty(4 * MIB)
    del x
    assert memory.statistics().held_blocks == 1
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert memory.statistics().held_blocks == 0


def test_where_the_system_cannot_wipe_the_page_python_does():
    code = """if True:
        import mmap, os
        from rectifier import memory
        from rectifier.engine import forks, memory as pool
        forks._WIPE_ON_FORK = 12345
        import numpy as np
        for _ in range(3):
            pool.empty_like(np.empty(2**22, np.uint8))
        assert memory.statistics().hits == 2
        pid = os.fork()
        if pid == 0:
            os._exit(memory.statistics().hits)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), memory.statistics().hits)
    """
    result = run_python(code)
    assert (result.stdout, result.stderr) == ("0 2\n", "")


def test_memory_that_the_system_refuses_is_a_memory_error_and_nothing_leaks():
    code = """if True:
        import resource
        from pathlib import Path
        import numpy as np
        from rectifier import memory
        from rectifier.engine import capi, memory as pool
        from rectifier.engine.runtime import pool_layout
        MIB = 2**20
        capi.set_handler(pool.handler())
        memory.set_bound(2**40)
        dead = [np.empty(64 * MIB, np.uint8) for _ in range(8)]
        del dead
        assert memory.statistics().held_blocks == 8
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 100 * MIB, -1))
        x = np.empty(400 * MIB, np.uint8)  # there is room when what is held has been given back
        assert memory.statistics().held_blocks == 0
        assert (x.ctypes.data - pool_layout.HEADER) % pool_layout.HUGE_PAGE == 0
        before = memory.statistics()
        for make in (np.empty, np.zeros):
            for n in (700 * MIB, 2**50, 2**61):
                try:
                    make(n, np.uint8)
                except MemoryError:
                    continue
                raise SystemExit("no error")
        x[:1000] = 5
        try:
            x.resize(2000 * MIB, refcheck=False)
        except MemoryError:
            assert x.nbytes == 400 * MIB and np.all(x[:1000] == 5)
        alive = []
        try:
            while True:
                alive.append(np.empty(3 * MIB, np.uint8))
        except MemoryError:
            made = len(alive)
        alive.clear()
        memory.clear()
        after = memory.statistics()
        assert (after.live_bytes, after.live_blocks) == (before.live_bytes, before.live_blocks), (before, after)
        alive = [np.empty(3 * MIB, np.uint8) for _ in range(made - 1)]
        print("all there", made > 50)
    """
    result = run_python(code, OPENBLAS_NUM_THREADS="1")
    assert (result.stdout, result.stderr) == ("all there True\n", "")


def test_arrays_that_are_alive_at_exit_die_in_peace():
    code = """if True:
        import atexit, builtins, sys, threading
        import numpy as np
        from rectifier import memory
        from rectifier.engine import capi, memory as pool
        from rectifier.engine.runtime import pool_layout
        def make():
            x = pool.empty_like(np.empty(2**22, np.uint8))
            x[:] = 1
            return x
        class Late:
            def __init__(self): self.x, self.me = make(), self
            def __del__(self): self.x[:] = 2; self.y = self.x[5:].copy()
        builtins.late, sys.kept, here, cycle = Late(), make(), make(), Late()
        local = threading.local(); local.x = make()
        atexit.register(lambda x=make(): x.sum())
        threading.Thread(target=lambda: make().sum()).start()
        capi.set_handler(pool.handler())
        rest = [np.ones(n, np.float32) for n in (1, 10, 10**6)]
        print("end")
    """
    result = run_python(code)
    assert (result.stdout, result.stderr, result.returncode) == ("end\n", "", 0)


def test_an_output_takes_hardly_more_memory_than_its_numbers():
    code = """if True:
        from pathlib import Path
        import numpy as np
        from rectifier.engine import memory as pool
        def resident():
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
            return 1024 * int(next(s for s in lines if s.startswith("Rss")).split()[1])
        pool.empty_like(np.empty(1, np.uint8))
        for n in (1_500_000, 2_200_000, 5_000_001, 99_999_999):
            before = resident()
            x = pool.empty_like(np.empty(n, np.uint8))
            x[:] = 1
            more = resident() - before - n
            assert more < 200_000, (n, more)
        print("lean")
    """
    result = run_python(code)
    assert (result.stdout, result.stderr) == ("lean\n", "")


def test_small_memory_goes_back_to_the_c_library():
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    def use() -> None:
        for _ in range(1000):
            empty(100_000)[:] = 1

    use()
    before = resident()
    use()
    assert resident() - before < 20 * MIB


def test_the_pool_needs_no_numba():
    code = "import sys; from rectifier.engine import memory; memory.handler(); print('numba' in sys.modules)"
    assert run_python(code).stdout == "False\n"


def test_where_the_system_has_not_what_it_takes_there_is_no_handler():
    code = """if True:
        import numpy as np
        from rectifier import memory
        from rectifier.engine import memory as pool
        pool._c_functions = lambda: None
        assert pool.handler() is None and pool.settings() == 0
        assert pool.empty_like(np.ones(3)).shape == (3,)
        memory.set_bound(5)
        print(memory.bound(), memory.clear(), set(memory.statistics()))
    """
    result = run_python(code)
    assert (result.stdout, result.stderr) == ("5 0 {0}\n", "")


def test_the_examples_are_true():
    assert doctest.testmod(memory).failed == 0
