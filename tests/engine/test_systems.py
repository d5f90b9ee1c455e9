"""Other systems than Linux: what they lack is taken away here, and what is served there must be the same."""

from __future__ import annotations

import hashlib  # noqa: F401  (of DIGESTS)
import sys

import numpy as np  # noqa: F401  (of DIGESTS)
import pytest

from conftest import BACKENDS, run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these take away what Linux has")

# As ctypes does it on Windows, where there is no library without a name.
WINDOWS = """
import ctypes, hashlib, json, mmap, os, signal, sys, threading, importlib.metadata
import numpy as np, ml_dtypes
for module, names in (
    (os, "uname fork register_at_fork sched_getaffinity sched_setaffinity geteuid getuid sysconf statvfs kill killpg"
         " setsid posix_fallocate posix_fadvise O_NOFOLLOW O_DIRECTORY O_CLOEXEC O_NONBLOCK"),
    (mmap, "MAP_PRIVATE MAP_ANONYMOUS MAP_ANON MAP_SHARED PROT_READ PROT_WRITE PROT_EXEC MADV_HUGEPAGE MADV_DONTFORK"),
    (signal, "pthread_kill pthread_sigmask SIGKILL SIGHUP SIGUSR1 setitimer"),
):
    for name in names.split():
        delattr(module, name)
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
class CDLL(ctypes.CDLL):
    def __init__(self, name, *arguments, **more):
        if name is None:
            raise TypeError("LoadLibrary() argument 1 must be str, not None")
        super().__init__(name, *arguments, **more)
ctypes.CDLL = CDLL
import pathlib
pathlib.WindowsPath = pathlib.PosixPath  # which one Path makes is asked of os.name
os.name, sys.platform = "nt", "win32"
"""

# macOS forks, and has neither futexes, nor affinity, nor Linux's advice on memory, nor these functions of its library.
MACOS = """
import ctypes, hashlib, json, mmap, os, subprocess, sys, threading, llvmlite.binding, numba
import numpy as np, ml_dtypes
for module, names in (
    (os, "sched_getaffinity sched_setaffinity posix_fallocate posix_fadvise"),
    (mmap, "MADV_HUGEPAGE MADV_DONTFORK MADV_NOHUGEPAGE MADV_DONTDUMP"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
class CDLL(ctypes.CDLL):
    def __getattr__(self, name):
        if name in ("syscall", "sched_getcpu"):
            raise AttributeError(name)
        return super().__getattr__(name)
ctypes.CDLL = CDLL
sys.platform = "darwin"
from rectifier.engine.compiler import target
target.TESTED = (("darwin", target.host().architecture),)  # to emit here, which is quicker
"""

# Everything that a function does to an array, of a length at which all ways of the engine are taken, and its bits.
DIGESTS = """
def digests(names, dtypes, package):
    found = {}
    for name in names:
        function, results = getattr(package, name), []
        for dtype in dtypes:
            x = np.linspace(-9, 9, 3 * 70_001).astype(dtype).reshape(3, -1)
            results.append(function(x))
            if name.endswith("softmax"):
                results.append(function.backward(x, y=results[-1]))
                continue
            results += [function.derivative(x), *function.value_and_derivative(x[:, ::2])]
            results.append(function.backward(x[::-1], x))
            y, pullback = function.vjp(x)
            results += [y, pullback(x)]
            if "mask" in function.spec.backward_from:
                y, mask = function.with_mask(x)
                results += [y, mask.bits, function.backward(x, mask=mask)]
            results.append(function(x.copy(), out=np.empty_like(x)))
        found[name] = hashlib.sha256(b"".join(r.tobytes() for r in results)).hexdigest()
    return found
"""
exec(DIGESTS)


def elsewhere(system: str, code: str, **environment: str) -> str:
    run = run_python(system + DIGESTS + "import rectifier\n" + code, **environment)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_on_windows_all_functions_work_by_numpy_and_say_so():
    what = ["relu", "leaky_relu", "silu", "softmax"], ["float16", "bfloat16", "float32"]
    said = elsewhere(
        WINDOWS,
        "from rectifier.engine import choice\n"
        "print(choice.engine()[0], '|', choice.engine()[1])\n"
        f"print(digests(*{what}, rectifier))",
    )
    engine, digest = said.splitlines()
    assert engine == "numpy | the compiled engine is for Linux and macOS"
    assert eval(digest) == digests(*what, BACKENDS["numpy"])  # noqa: F821  (of DIGESTS)


def test_on_windows_nothing_else_of_the_package_needs_posix():
    said = elsewhere(
        WINDOWS,
        "import pickle\n"
        "from dataclasses import asdict\n"
        "from rectifier import crysx, memory, relu, settings, swiglu, warmup\n"
        "from rectifier.tools import machine\n"
        "x = np.array([[-1.0, 2.0], [3.0, -4.0]])\n"
        "assert relu.ufunc(x, where=x > 0, out=np.zeros((2, 2))).tolist() == [[0, 2], [3, 0]]\n"
        "assert swiglu.ufunc.outer(x, x).shape == (2, 2, 2, 2)\n"
        "assert crysx.__all__ and swiglu(x, x).shape == (2, 2)\n"
        "assert relu([1, -1]).tolist() == [1, 0] and relu(np.array([1, -1], 'i2')).dtype == 'i2'\n"
        "_, mask = relu.with_mask(x)\n"
        "assert pickle.loads(pickle.dumps(mask)) == mask and mask.count() == 2\n"
        "settings.threads = 4; settings.spin_microseconds = 5; settings.pool_bytes = 0; settings.store = None\n"
        "assert settings.threads == 1 and settings.store is None and warmup(relu) == 0\n"
        "assert memory.statistics().held_bytes == 0\n"
        "print(repr(settings), json.dumps(asdict(machine.describe())))",
    )
    assert '"engine": "numpy"' in said
    assert "not on this system" in said


def test_on_macos_the_compiled_engine_is_the_same_on_one_thread():
    what = ["relu"], ["float32"]
    said = elsewhere(
        MACOS,
        "from rectifier.engine import choice, process\n"
        "from rectifier.engine.runtime.structure import Words\n"
        "assert rectifier.settings.threads == 1, rectifier.settings\n"
        f"found = digests(*{what}, rectifier)\n"
        "words = process.words()\n"
        "control = words.control\n"
        "used = any(Words(control)[k] for k in range(control.WORDS))\n"
        "print(*choice.engine(), '|', process.threads()[1], words.system_call, used)\n"
        "print(found)",
        RECTIFIER_STORE="off",
    )
    first, digest = said.splitlines()
    assert first == "llvm default | no helper threads on this system 0 False"
    assert eval(digest) == digests(*what, BACKENDS["llvm"])  # noqa: F821


def test_on_macos_a_forked_child_finds_the_engine_and_the_pool_as_new():
    said = elsewhere(
        MACOS,
        "from rectifier import memory, relu\n"
        "from rectifier.engine import process, memory as pool\n"
        "from rectifier.engine.runtime import layout, pool_layout\n"
        "x = np.linspace(-1, 1, 2_000_000, dtype='f4')\n"
        "right = relu(x).tobytes(); relu(x)\n"
        "control = process.words().control\n"
        "control.lock = 1  # as if another thread were in the middle of a call\n"
        "assert memory.statistics().hits > 0 and pool.settings().huge_from == pool.LARGEST\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    same = relu(x).tobytes() == right\n"
        "    os._exit(same and control.lock == 0 and memory.statistics().hits == 0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))",
    )
    assert said == "1\n"


@pytest.mark.parametrize("machine", ["armv7l", "ppc64le"])
def test_on_other_processors_numpy_serves_and_nothing_is_tried(machine):
    run = run_python(
        "import os, numpy as np\n"
        f"system = os.uname(); os.uname = lambda: type(system)((*system[:4], {machine!r}))\n"
        "from rectifier import relu, softmax\n"
        "from rectifier.engine import choice\n"
        "x = np.array([[-1.0, 2.0]])\n"
        "assert relu(x).tolist() == [[0, 2]] and abs(softmax(x).sum() - 1) < 1e-15\n"
        "print(*choice.engine())"
    )
    assert run.stdout == "numpy the compiled engine is for x86-64 and 64-bit Arm\n", run.stderr
