"""The kernels of `rectifier.backends.cupy` on a CPU: the same text, compiled by g++ behind host_cuda.hpp."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from conftest import FLOATS
from rectifier.backends.cupy import launch, source
from rectifier.catalogue import ALL, CATALOGUE
from rectifier.functions.specification import Rowwise

FOLDER = Path(os.environ["RECTIFIER_TEST_FOLDER"])
HEADER = Path(__file__).with_name("host_cuda.hpp")
# Of -fma(-x, y, 0.0) g++ 12 makes one instruction, which has the other sign of zero, unless it knows no fma.
OPTIONS = ("-std=c++17", "-O1", "-march=native", "-ffp-contract=off", "-fno-builtin-fma", "-fno-strict-aliasing",
           "-fPIC", "-shared")  # fmt: skip
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function", "-Wno-unused-parameter")
SANITIZE = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wno-clobbered")
SIGNATURE = re.compile(r'extern "C" __global__ (?:__launch_bounds__\([\d, ]+\) )?void (\w+)\((.*?)\) \{')
ROOM = 99 << 10  # shared memory of a block: of sm_86, sm_89 and sm_120 the most
INTEGRAL = [name for name in CATALOGUE if CATALOGUE[name].spec.selects]
SOME_INTEGERS = ("int8", "uint32", "uint64")  # each is computed in a type of its own; the others in the slow tier
MUTANT = "RECTIFIER_GPU_MUTANT"  # what stands in a text, and what it says instead


class Array(np.ndarray):
    """What stands for an array on a device: no kernel takes it for a number."""


def mutated(text: str) -> str:
    """Make the mistake that the environment asks for."""
    if MUTANT in os.environ:
        old, new = json.loads(os.environ[MUTANT])
        text = text.replace(old, new)
    return text


def parts(block: Any, dtype: str) -> list[source.Part]:
    """List the kernels of a block in a dtype, and their functions."""
    if isinstance(block, Rowwise):
        return [source.rows(block, backward, dtype) for backward in (False, True)]
    found = block.operations.values()
    count, gates = len(block.uniform), tuple(name not in block.parameters for name in block.uniform)
    spreads = {gates} if any(gates) or dtype != "float32" else {(False,) * count, (True,) * count}
    return [
        part for operation in found for spread in spreads for part in source.contiguous(block, operation, dtype, spread)
    ]


def wrapper(name: str, arguments: str) -> str:
    """Write what a foreign caller calls: the launch of a kernel with the addresses of its arguments."""
    kinds = [re.sub(r"\w+$", "", argument).strip() for argument in arguments.split(", ")]
    values = ", ".join(f"*(std::decay_t<{kind}> *)a[{k}]" for k, kind in enumerate(kinds))
    body = f"host::launch(grid, block, shared, [&] {{ rectifier::{name}({values}); }});"
    return f'extern "C" void host_{name}(unsigned grid, unsigned block, unsigned shared, void **a) {{ {body} }}\n'


def made_once(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Make a file once per run of the tests, whichever process needs it first, and return its path.

    `key` is all that the content depends on.
    """
    path = FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}-{name}"
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            part = path.with_name(f"part-{path.name}")
            make(part)
            part.rename(path)
    return path


def build(text: str, name: str, options: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Compile a program to a library, and load it."""
    text = mutated(text)
    kernels = SIGNATURE.findall(text)
    assert kernels
    text = f'#include "{HEADER}"\n{text}\n{"".join(wrapper(*kernel) for kernel in kernels)}'
    command = ["g++", *OPTIONS, *WARNINGS, *options, "-x", "c++", "-", "-o"]

    def compile_(path: Path) -> None:
        run = subprocess.run([*command, str(path)], input=text, capture_output=True, text=True, timeout=600)
        assert run.returncode == 0, run.stderr[:4000]

    return ctypes.CDLL(str(made_once(f"{name}.so", f"{command}{HEADER.read_text()}{text}", compile_)))


class Host:
    """What runs kernels where there is no GPU.

    Parameters
    ----------
    groups : lists of pairs of str
        Functions and dtypes whose kernels are compiled together, at once and in the background; others are compiled
        when they are asked for.
    options : tuple of str
        Further options of g++.
    """

    def __init__(self, groups: Any = (), options: tuple[str, ...] = ()) -> None:
        self.options = options
        self.room = ROOM
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        self._libraries: dict[tuple[str, str], Future[ctypes.CDLL]] = {}
        self.launches = 0
        for group in groups:
            self._start(group)

    def _start(self, group: list[tuple[str, str]]) -> None:
        text = source.program(*(part for name, dtype in group for part in parts(ALL[name].spec, dtype)))
        library = self._pool.submit(build, text, "_".join(group[0]), self.options)
        self._libraries.update(dict.fromkeys(group, library))

    def _library(self, name: str, dtype: str) -> ctypes.CDLL:
        if (name, dtype) not in self._libraries:
            self._start([(name, dtype)])
        return self._libraries[name, dtype].result()

    def raw_kernel(self, text: str, name: str, options: tuple[str, ...]) -> Any:
        """Make what stands for a RawKernel."""
        assert options == ("-fmad=false",)
        assert f"void {name}(" in text
        function, dtype = re.fullmatch(
            r"(\w+?)_(?:value|derivative|backward|with_mask).*?_(b?float\d+|u?int\d+)\w*", name
        ).groups()
        alone = name.endswith("_by_rows") or function not in ALL  # as a function of a sum
        library = build(text, name, self.options) if alone else self._library(function, dtype)
        kernel = getattr(library, f"host_{name}")

        def launch(grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...], shared_mem: int = 0) -> None:
            kept = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, Array) else np.asarray(a) for a in arguments]
            addresses = [ctypes.addressof(k) if isinstance(k, ctypes.c_void_p) else k.ctypes.data for k in kept]
            self.launches += 1
            kernel(grid[0], block[0], shared_mem, (ctypes.c_void_p * len(kept))(*addresses))

        return launch

    @staticmethod
    def launch(kernel: Any, threads: int, wanted: int, arguments: tuple[Any, ...], shared: int = 0) -> None:
        """Launch so few threads that most of them go through more than one vector."""
        threads = 64 if threads == source.BLOCK else threads
        kernel((max(1, min(3, wanted // threads)),), (threads,), arguments, shared)

    def install(self, patch: Any) -> None:
        """Let `rectifier.backends.cupy.launch` use this, until a pytest.MonkeyPatch is undone."""
        import cupy

        patch.setattr(cupy, "RawKernel", self.raw_kernel)
        patch.setattr(cupy, "ascontiguousarray", lambda array: np.array(array).view(Array))
        patch.setattr(cupy, "broadcast_to", np.broadcast_to)
        patch.setattr(launch, "launch", self.launch)
        patch.setattr(launch, "_kernels", {})
        patch.setattr(launch, "_attribute", lambda name, device: {"MaxSharedMemoryPerBlockOptin": self.room}[name])
        patch.setattr(cupy.cuda.runtime, "getDevice", lambda: 0)

    @staticmethod
    def array(array: Any, before: int = 0) -> Array:
        """Copy an array to the device, so many elements behind a multiple of 64 bytes."""
        array = np.asarray(array)
        memory = np.empty(array.nbytes + array.itemsize * before + 64, np.uint8)
        start = -memory.ctypes.data % 64 + array.itemsize * before
        copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy.view(Array)

    @staticmethod
    def numpy(array: Any) -> np.ndarray:
        """Copy an array back."""
        return np.array(array)


class Device:
    """What runs kernels on a GPU."""

    def install(self, patch: Any) -> None:
        """Leave `rectifier.backends.cupy.launch` as it is."""

    @staticmethod
    def array(array: Any, before: int = 0) -> Any:
        """Copy an array to the device, so many elements behind a multiple of 64 bytes."""
        import cupy

        array = np.asarray(array)
        memory = cupy.empty(array.size + before, array.dtype)
        copy = memory[before:].reshape(array.shape)
        copy.set(array)
        return copy

    @staticmethod
    def numpy(array: Any) -> np.ndarray:
        """Copy an array back."""
        return array.get()


def started() -> Host:
    """Return a host that compiles all kernels in the background; of a mutant, or with sanitizers, those asked for."""
    pairs = [(name, dtype) for name in ALL for dtype in FLOATS] + [(n, d) for n in INTEGRAL for d in SOME_INTEGERS]
    sanitized = "RECTIFIER_GPU_SANITIZED" in os.environ
    few = sanitized or MUTANT in os.environ
    groups = [] if few else [pairs[k::8] for k in range(8)]
    return Host(groups, SANITIZE if sanitized else ())
