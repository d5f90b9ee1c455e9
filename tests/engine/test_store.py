"""The store of machine code: what is in it is right or not used, and where there is none, nothing is missing."""

from __future__ import annotations

import ast
import ctypes
import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
from llvmlite import ir
from stored_sample import CONTENT, compiles

import rectifier
from rectifier.engine import elf, fingerprint, options, store
from rectifier.engine.compiler import optimise, subset, target
from rectifier.engine.compiler.instructions import Instruction, copy_memory, external
from rectifier.engine.fingerprint import KERNELS, RUNTIME, Family

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the store is kept on ELF systems")

START = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import stored_sample
from rectifier.engine import fingerprint, store
from rectifier.engine.compiler import optimise, target
from rectifier.engine.fingerprint import KERNELS
"""
HEADER = len(store.MAGIC) + store.HASH


def run_python(code: str, **environment: str) -> str:
    """Run code in a process of its own, where warnings are errors, and give what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", START + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture
def directory(monkeypatch, tmp_path) -> Path:
    """Give the directory of a store that is not made yet."""
    monkeypatch.setattr(options.STORE, "known", None)
    monkeypatch.setattr(store._State, "failure", "")
    monkeypatch.setenv("RECTIFIER_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def kept(directory) -> Path:
    """Give the one file of a store."""
    assert compiles() == 1
    (file,) = directory.iterdir()
    assert compiles() == 0
    return file


# --- what is kept


def test_an_object_is_compiled_once_and_nobody_else_may_touch_it(kept):
    assert kept.name == store._key("sample", KERNELS, CONTENT) + store.SUFFIX
    assert stat.S_IMODE(kept.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert store.location() == (str(kept.parent), "RECTIFIER_STORE")


def test_what_the_functions_share_is_in_the_object_once_and_it_needs_nothing(kept):
    code = kept.read_bytes()[HEADER:]
    assert elf.symbols(code) == ({"rectifier.count", "rectifier.free"}, set())
    assert len(code) < 4096


def test_other_content_another_name_or_another_processor_is_another_object(kept, monkeypatch):
    key = store._key("sample", KERNELS, CONTENT)
    assert store._key("sample", KERNELS, CONTENT + b"!") != key
    assert store._key("sampl", KERNELS, b"e" + CONTENT) != key
    for processor in (("znver4", "+avx2,+avx512f"), ("znver4", "+avx2,-avx512f"), ("haswell", "+avx2,-avx512f")):
        other = target.host()._replace(processor=processor[0], features=processor[1])
        monkeypatch.setattr(store, "host", lambda other=other: other)
        keys = {key, store._key("sample", KERNELS, CONTENT)}
        assert len(keys) == 2
        assert store._read(max(keys - {key})) is None
    monkeypatch.undo()


def test_what_changes_the_code_changes_the_key(directory, monkeypatch):
    keys = {store._key("sample", KERNELS, CONTENT)}
    keys.add(store._key("sample", RUNTIME, CONTENT))
    monkeypatch.setattr(store, "source", lambda family: b"another")
    keys.add(store._key("sample", KERNELS, CONTENT))
    monkeypatch.setattr("llvmlite.__version__", "0")
    keys.add(store._key("sample", KERNELS, CONTENT))
    monkeypatch.setattr("llvmlite.binding.llvm_version_info", (0, 0, 0))
    keys.add(store._key("sample", KERNELS, CONTENT))
    monkeypatch.setattr(store, "FORMAT", 0)
    keys.add(store._key("sample", KERNELS, CONTENT))
    assert len(keys) == 6


def test_an_object_under_the_name_of_another_is_not_loaded(kept):
    other = kept.with_name(store._key("sample", KERNELS, b"other") + store.SUFFIX)
    other.write_bytes(kept.read_bytes())
    other.chmod(0o600)
    assert compiles(b"other") == 1
    assert other.read_bytes()[HEADER:] == kept.read_bytes()[HEADER:]


def test_a_new_process_computes_with_what_is_kept(kept):
    run_python("assert stored_sample.compiles() == 0")


# --- what is not as it was written


def damaged(data: bytes) -> list[bytes]:
    random = np.random.default_rng(0)
    places = [*range(HEADER), *random.integers(HEADER, len(data), 250).tolist()]
    flipped = [data[:i] + bytes([data[i] ^ 1 << random.integers(8)]) + data[i + 1 :] for i in places]
    cut = [
        data[:n]
        for n in (0, 1, len(store.MAGIC), HEADER - 1, HEADER, HEADER + 1, HEADER + 64, len(data) // 2, len(data) - 1)
    ]
    cases = [*flipped, *cut, data + b"\0", b"\x7fELF" + data, data[HEADER:], bytes(len(data)), b"text\n" * 100]
    assert len(cases) > 300
    assert data not in cases
    return cases


def test_a_damaged_truncated_or_foreign_object_is_not_used(kept):
    key, whole = kept.stem, kept.read_bytes()
    for case in damaged(whole):
        kept.write_bytes(case)
        assert store._read(key) is None
    kept.write_bytes(whole)
    assert compiles() == 0


def test_a_damaged_truncated_or_foreign_object_is_compiled_anew_and_replaced(kept):
    whole = kept.read_bytes()
    for case in damaged(whole)[::12]:
        kept.write_bytes(case)
        assert compiles() == 1
        assert kept.read_bytes() == whole
    assert compiles() == 0


def test_a_file_that_is_sealed_but_no_object_is_compiled_anew(kept):
    whole = kept.read_bytes()
    for code in (b"", b"\x7fELF\2", whole[HEADER:-100], bytes(1000)):
        kept.write_bytes(store.MAGIC + store._seal(kept.stem, code) + code)
        assert compiles() == 1
        assert kept.read_bytes() == whole


def test_no_damage_to_an_object_does_more_to_its_reader_than_a_value_error(kept):
    random = np.random.default_rng(1)
    code = np.frombuffer(kept.read_bytes()[HEADER:], np.uint8)
    refused = 0
    for _ in range(2000):
        other = code.copy()
        other[random.integers(0, len(code), 8)] = random.integers(0, 256, 8)
        other[random.integers(40, 64)] = random.integers(0, 256)
        try:
            elf.symbols(other.tobytes()[: random.integers(1, len(code) + 1)])
        except ValueError:
            refused += 1
    assert refused > 1000


# --- whom it belongs to


def test_nothing_is_kept_in_the_directory_of_another_user(kept, monkeypatch):
    before = kept.stat()
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert compiles() == 1
    assert compiles() == 1
    assert store.location() == (None, "RECTIFIER_STORE: it belongs to another user")
    assert kept.stat() == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to give a file away")
def test_the_file_of_another_user_is_compiled_anew(kept):
    os.chown(kept, 12345, 12345)
    assert compiles() == 1
    assert kept.stat().st_uid == os.geteuid()
    assert compiles() == 0


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_nothing_is_kept_in_a_directory_where_others_may_write(kept, mode):
    kept.parent.chmod(mode)
    assert compiles() == 1
    assert compiles(b"more") == 1
    assert store.location() == (None, "RECTIFIER_STORE: others may write there")
    assert list(kept.parent.iterdir()) == [kept]


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_file_that_others_may_write_is_compiled_anew(kept, mode):
    kept.chmod(mode)
    assert compiles() == 1
    assert stat.S_IMODE(kept.stat().st_mode) & 0o077 == 0
    assert compiles() == 0


def test_a_link_a_pipe_or_a_device_is_compiled_anew(kept):
    elsewhere = kept.rename(kept.with_name("elsewhere"))
    for replace in (
        lambda: kept.symlink_to(elsewhere),
        lambda: kept.symlink_to("/dev/zero"),
        lambda: os.mkfifo(kept, 0o600),
    ):
        replace()
        assert compiles() == 1
        assert stat.S_ISREG(kept.lstat().st_mode)
        assert compiles() == 0
        kept.unlink()
    os.mkfifo(kept, 0o600)
    held = os.open(kept, os.O_RDWR)  # somebody may write yet
    assert compiles() == 1
    os.close(held)


# --- where nothing can be kept


def test_a_directory_in_the_way_is_done_without(kept):
    kept.unlink()
    kept.mkdir()
    assert compiles() == 1
    assert store.location()[0] == str(kept.parent)
    assert "takes nothing" in store.location()[1]
    assert list(kept.parent.iterdir()) == [kept]


def test_a_full_disk_leaves_nothing_behind_and_is_done_without(directory, monkeypatch):
    write = os.write
    left = [100]

    def some(descriptor, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        n = write(descriptor, data[: left[0]])
        left[0] -= n
        return n

    monkeypatch.setattr(os, "write", some)
    assert compiles() == 1
    assert left == [0]
    assert list(directory.iterdir()) == []
    assert store.location() == (str(directory), "RECTIFIER_STORE, but it takes nothing: No space left on device")
    monkeypatch.setattr(os, "write", write)
    assert compiles() == 1
    assert store.location() == (str(directory), "RECTIFIER_STORE")
    assert compiles() == 0


def test_a_read_only_store_is_read(kept, monkeypatch):
    opened = os.open

    def read_only(path, flags, *arguments, **keywords):
        if flags & (os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, *arguments, **keywords)

    monkeypatch.setattr(os, "open", read_only)
    assert compiles() == 0
    assert compiles(b"more") == 1
    assert store.location() == (str(kept.parent), "RECTIFIER_STORE, but it takes nothing: Read-only file system")


@pytest.mark.parametrize("path", ["/proc/nowhere/store", "/dev/null/store", "\0", "x" * 5000])
def test_a_directory_that_cannot_be_is_done_without(path, monkeypatch, directory):
    options.STORE.set(path)
    assert compiles() == 1
    assert compiles() == 1
    where, why = store.location()
    assert where is None
    assert why


@pytest.mark.parametrize("value", ["", "off", "OFF"])
def test_the_environment_switches_it_off(directory, value, monkeypatch):
    monkeypatch.setenv("RECTIFIER_STORE", value)
    assert compiles() == 1
    assert compiles() == 1
    assert store.location() == (None, "switched off by RECTIFIER_STORE")


def test_the_directory_is_that_of_the_user(directory, monkeypatch, tmp_path):
    monkeypatch.delenv("RECTIFIER_STORE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert compiles() == 1
    assert store.location() == (str(tmp_path / "cache" / "rectifier"), "XDG_CACHE_HOME")
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert store.location() == (str(tmp_path / "home" / ".cache" / "rectifier"), "default")
    assert compiles() == 1
    assert len(list((tmp_path / "home" / ".cache" / "rectifier").iterdir())) == 1
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, and no entry for the user
    assert store.location() == (None, "there is no home directory")
    assert compiles() == 1


def test_the_directory_is_set_in_code(directory, tmp_path):
    options.STORE.set(tmp_path / "other")
    assert compiles() == 1
    assert compiles() == 0
    assert store.location() == (str(tmp_path / "other"), "set in code")
    options.STORE.set(None)
    assert compiles() == 1
    assert store.location() == (None, "set in code")
    assert not directory.exists()


def test_where_objects_are_not_elf_the_code_is_compiled_and_loaded(directory, monkeypatch):
    monkeypatch.setattr(store, "is_elf", lambda code: False)
    assert compiles() == 1
    assert not list(directory.iterdir())
    monkeypatch.setattr(sys, "platform", "darwin")
    assert store.location() == (None, "not on this system")


# --- many at once, and much


def test_eight_processes_at_once_all_compute_and_leave_one_file(directory, tmp_path):
    code = f"""
import os, time
open({str(tmp_path)!r} + f"/ready{{os.getpid()}}", "w").close()
while not os.path.exists({str(tmp_path / "go")!r}):
    time.sleep(0.001)
stored_sample.compiles()
"""
    name = store._key("sample", KERNELS, CONTENT) + store.SUFFIX
    processes = [subprocess.Popen([sys.executable, "-W", "error", "-c", START + code]) for _ in range(8)]
    while len(list(tmp_path.glob("ready*"))) < 8:
        time.sleep(0.01)
        assert not any(process.poll() for process in processes)
    (tmp_path / "go").touch()
    assert [process.wait(timeout=60) for process in processes] == [0] * 8
    assert [file.name for file in directory.iterdir()] == [name]
    assert compiles() == 0


def test_a_reader_beside_writers_sees_a_whole_object_or_none(kept):
    code = f"""
code = store._read({kept.stem!r})
while True:
    store._write({kept.stem!r}, code)
"""
    writers = [subprocess.Popen([sys.executable, "-c", START + code]) for _ in range(2)]
    try:
        versions = set()
        while len(versions) < 300:
            assert store._read(kept.stem) is not None
            versions.add(kept.stat().st_mtime_ns)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


def test_what_was_not_used_for_longest_is_deleted_beyond_the_limit(kept, monkeypatch):
    size = kept.stat().st_size
    now = time.time()
    foreign = [kept.with_name("notes.code"), kept.with_name("a" * 64), kept.with_name("note")]
    for k in range(20):
        name = f"{k:064x}"
        kept.with_name(name + store.SUFFIX).write_bytes(bytes(size))
        os.utime(kept.with_name(name + store.SUFFIX), (now, now - 1000 * (k + 1)))
    half_written = kept.with_name(f"{1:064x}.0123")
    for path in (*foreign, half_written):
        path.write_bytes(bytes(size))
        os.utime(path, (0, 0))
    monkeypatch.setattr(store, "LIMIT", 30 * size)
    assert compiles(b"more") == 1
    assert len(list(kept.parent.glob("000*.code"))) == 20
    assert not half_written.exists()
    monkeypatch.setattr(store, "LIMIT", 12 * size)
    assert compiles(b"and more") == 1
    left = {int(path.stem, 16) for path in kept.parent.glob("000*.code")}
    assert 2 <= len(left) <= 5
    assert left == set(range(len(left)))
    assert kept.exists()
    assert all(path.exists() for path in foreign)


def test_use_keeps_an_object_young(kept):
    os.utime(kept, (0, 0))
    assert compiles() == 0
    assert time.time() - kept.stat().st_mtime < 60


# --- what may not be kept


@pytest.mark.parametrize("name", ["nowhere_to_be_found", "getpid"])
def test_code_that_calls_what_is_not_in_it_is_refused(directory, name):
    word = ir.IntType(64)
    call = Instruction(lambda builder, n: builder.call(external(builder, name, word, [word]), [n]))
    build = lambda: subset.optimised([FunctionType(_calls.__code__, {"call": call})])  # noqa: E731
    with pytest.raises(RuntimeError, match=f"the code of sample calls what is not in it: {name}"):
        store.machine_code("sample", KERNELS, CONTENT, build)
    assert not list(directory.iterdir())
    code = optimise.object_of(build().module, target.host())
    store._write(store._key("sample", KERNELS, CONTENT), code)
    assert len(list(directory.iterdir())) == 1
    assert compiles() == 1
    assert compiles() == 0


def _calls(n):
    return call(n)  # noqa: F821


def move(target, source, n):
    copy_memory(target, source, n)


def test_memory_is_copied_by_the_functions_that_llvm_puts_in(directory):
    for _ in range(2):
        address = store.machine_code("move", KERNELS, b"", lambda: subset.optimised([move]))["move"]
        x, y = np.arange(1000.0), np.zeros(1000)
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(address)(y.ctypes.data, x.ctypes.data, y.nbytes)
        assert np.array_equal(x, y)
    (file,) = directory.iterdir()
    assert elf.symbols(file.read_bytes()[HEADER:]) == ({"rectifier.move"}, {"memcpy"})


def assert_free_of_addresses(code: str, path: Path) -> None:
    """Assert that two processes, whose addresses and past differ, keep the same bytes when they run `code`."""
    stores = []
    for k, past in enumerate(("", "stored_sample.sample(); x = [bytes(n) for n in range(1 << 14)]\n")):
        run_python(past + code, RECTIFIER_STORE=str(path / str(k)))
        stores.append({file.name: file.read_bytes() for file in (path / str(k)).iterdir()})
    assert stores[0]
    assert stores[0] == stores[1]


def test_an_object_has_no_trace_of_the_process_that_made_it(tmp_path):
    assert_free_of_addresses("stored_sample.compiles()", tmp_path)


def test_a_thread_runs_on_in_the_code_while_the_interpreter_ends(kept):
    code = """
import ctypes, threading, time
addresses = store.machine_code("sample", KERNELS, stored_sample.CONTENT, None)
count = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(addresses["count"])
threading.Thread(target=count, args=(90,), daemon=True).start()
time.sleep(0.05)
"""
    run_python(code)


def test_a_process_without_executable_memory_gets_an_error_and_no_crash(kept):
    code = """
import ctypes
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, from Linux 6.3 on
    print("skip")
else:
    try:
        stored_sample.compiles()
    except OSError as error:
        assert "executable memory" in str(error), error
    else:
        raise AssertionError
"""
    if run_python(code):
        pytest.skip("the system cannot deny it")


# --- the content of a formula


def test_the_content_of_a_formula_is_what_it_computes():
    def of(source: str) -> bytes:
        namespace: dict[str, object] = {}
        exec(compile(source, f"file{len(source)}.py", "exec"), namespace)
        return fingerprint.code_of(namespace["f"])

    same = [
        "def f(x, a=1.0): return where(x > T(0), x, a)",
        "\n\n\ndef f(x, a=1.0):\n\n    # a comment\n    return where(x > T(0), x, a)",
    ]
    assert len(set(map(of, same))) == 1
    others = [
        same[0],
        "def f(x, a=1): return where(x > T(0), x, a)",
        "def f(x, a=True): return where(x > T(0), x, a)",
        "def f(x, *, a=1.0): return where(x > T(0), x, a)",
        "def f(x, a=-1.0): return where(x > T(0), x, a)",
        "def f(x, a=1.0): return where(x > T(0.0), x, a)",
        "def f(x, a=1.0): return where(x > T(-0.0), x, a)",
        "def f(x, a=1.0): return where(x >= T(0), x, a)",
        "def f(x, a=1.0): return where(a > T(0), x, a)",
        "def f(x, a=1.0): return maximum(x > T(0), x, a)",
        "def f(x, a=1.0): return (lambda: 1)",
        "def f(x, a=1.0): return (lambda: 2)",
        "def f(x, a=1.0): return x in {'1', '2', '3'}",
        "def f(x, a=1.0): return x in ('1', '2', '3')",
        "def f(x, a=1.0): return x in ('1, 2', '3')",
    ]
    assert len(set(map(of, others))) == len(others)


def test_the_content_of_a_formula_is_the_same_in_every_process():
    code = """
def f(x): return x in {"a", "b", "c", 1.0, None, (1, "d")}
print(fingerprint.code_of(f))
"""
    results = {run_python(code, PYTHONHASHSEED=str(seed)) for seed in (1, 2, 3)}
    assert len(results) == 1
    assert results != {""}


def test_what_has_no_content_of_its_own_is_refused():
    x = np.ones(1)
    for thing in (lambda: x, lambda y=x: y, lambda y=x.dtype: y, lambda *, y=x: y, len):
        with pytest.raises(TypeError):
            fingerprint.code_of(thing)


# --- the source that makes code of it

PACKAGE = Path(rectifier.__file__).parent
FAMILIES = {
    "kernels": (KERNELS, sorted((PACKAGE / "engine/compiler").glob("*.py"))),
    "runtime": (RUNTIME, [PACKAGE / "engine/compiler/subset.py", *sorted((PACKAGE / "engine/runtime").glob("*.py"))]),
}


def imported(module: Path) -> set[Path]:
    """List the modules of this package that one imports, at the top or inside functions."""
    found = set[Path]()
    for node in ast.walk(ast.parse(module.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names] + [node.module or ""]
        start = module.parents[node.level - 1] if names and node.level else PACKAGE.parent
        for name in [*names, *(alias.name for alias in getattr(node, "names", []) if isinstance(node, ast.Import))]:
            path = start.joinpath(*name.split(".")) if name else start
            found |= {file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()}
    return {file for file in found if file.is_relative_to(PACKAGE)}


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_imported_to_compile_is_in_the_fingerprint(name):
    family, waiting = FAMILIES[name]
    reached = set[Path]()
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting += imported(module) - reached
    assert len(reached) > 10
    texts = {path for path in reached if len(ast.parse(path.read_text()).body) > 1}
    assert texts <= set(family.modules())


def test_a_change_of_the_runtime_leaves_kernels_valid_and_one_of_a_formula_the_runtime():
    kernels, runtime = ({path.relative_to(PACKAGE).as_posix() for path in f.modules()} for f in (KERNELS, RUNTIME))
    assert "engine/runtime/driver.py" in runtime - kernels
    assert "formulas/llvm.py" in kernels - runtime


def test_a_module_that_is_added_to_a_folder_is_in_the_fingerprint(monkeypatch, tmp_path):
    (tmp_path / "formulas").mkdir()
    (tmp_path / "formulas" / "first.py").write_text("1")
    monkeypatch.setattr(fingerprint, "_PACKAGE", tmp_path)
    family = Family(("formulas",), ())
    texts = {fingerprint.source.__wrapped__(family)}
    for path in "second.py", "deeper/third.py":
        (tmp_path / "formulas" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "formulas" / path).write_text("2")
        texts.add(fingerprint.source.__wrapped__(family))
    assert len(texts) == 3


TOGETHER = """
import sys, time
stored_sample.sample()
class Slow(stored_sample.Build):
    def __call__(self):
        time.sleep(1)
        return super().__call__()
build = Slow()
sys.stdin.readline()
stored_sample.assert_right(store.machine_code("together", KERNELS, b"", build))
print(build.calls)
"""


def test_processes_that_begin_at_once_compile_once(tmp_path):
    environment = {**os.environ, "RECTIFIER_STORE": str(tmp_path / "store")}
    command = [sys.executable, "-c", START + TOGETHER]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) for _ in range(3)]
    time.sleep(3)  # until they wait
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    assert sorted(process.communicate(timeout=60)[0] for process in running) == ["0\n", "0\n", "1\n"]
    assert all(process.returncode == 0 for process in running)
    assert [file.suffix for file in (tmp_path / "store").iterdir()] == [store.SUFFIX]


def test_who_waits_for_a_process_that_never_ends_compiles_itself(directory, monkeypatch):
    import fcntl

    monkeypatch.setattr(store, "PATIENCE", 0.05)
    directory.mkdir(mode=0o700)
    key = store._key("sample", KERNELS, CONTENT)
    with open(directory / (key + store.LOCK), "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert compiles() == 1
    assert compiles() == 0


def test_a_child_that_was_forked_while_an_object_was_compiled_keeps_nobody_waiting(directory, monkeypatch):
    import fcntl

    key, (out, into) = store._key("sample", KERNELS, CONTENT), os.pipe()
    with store._alone(key):
        child = os.fork()
        if child == 0:
            os.close(into)
            os.read(out, 1)  # until its parent has looked
            os._exit(0)
        waiting = os.open(directory / (key + store.LOCK), os.O_RDWR)  # as another process has it open
    fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(into)
    os.close(out)
    os.close(waiting)
    assert os.waitpid(child, 0)[1] == 0
