"""The machine that a figure was measured on, as far as it decides how fast an activation function is."""

from __future__ import annotations

import importlib
import importlib.util
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, relu
from ..engine import limits
from ..engine import process as compiled
from ..engine.choice import engine
from ..engine.compiler import arm
from ..engine.settings import settings

LARGE = 1 << 22  # elements; some milliseconds
_PACKAGES = ("numpy", "numba", "llvmlite", "ml_dtypes")
# By LLVM's names, which Numba compiles for; the first that the processor has is the level.
_SIMD = {
    "avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "sse4.2": "SSE4.2", "sse2": "SSE2",
    "sve2": "SVE2", "sve": "SVE", "neon": "NEON",
    "vsx": "VSX", "vector": "VX", "v": "RVV",
}  # fmt: skip


@dataclass(frozen=True)
class Calibration:
    """The settings that large calls begin with; they go on learning from their own times.

    Attributes
    ----------
    stream_from_bytes : int
        A result so large is written past the caches at first.
    learned_from_bytes, learned_to_bytes : int
        Between these each function learns from its calls what is faster; both are the same where it does not.
    reason : str
        Why it begins there.
    fetch_lines : int
        How many lines of 64 bytes ahead inputs are fetched, where results go past the caches.
    gain : float or None
        What all threads do together, in units of what one does: 2 for two cores, little more than 1 for two
        hyperthreads of one; None with one thread, or before it was measured.
    reach_microseconds, wake_microseconds : float or None
        What it takes to reach a helper thread that waits, and one that sleeps.
    share_from_microseconds : float
        A call that would take one thread less is not shared.
    """

    stream_from_bytes: int
    learned_from_bytes: int
    learned_to_bytes: int
    reason: str
    fetch_lines: int
    gain: float | None
    reach_microseconds: float | None
    wake_microseconds: float | None
    share_from_microseconds: float


@dataclass(frozen=True)
class Gpu:
    """The GPUs that CuPy reaches, or why there is none."""

    devices: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Machine:
    """The facts that decide the speed of a call; ``dataclasses.asdict`` returns what JSON can hold.

    Attributes
    ----------
    versions : dict
        Of this library, Python and what it computes with; None for what is not installed.
    system, processor, microarchitecture, simd : str
        Names; the last is the widest vector instruction set, by LLVM's reading of the processor.
    cache_bytes : dict
        Data caches that the first processor sees, such as ``{"L1d": 32768}``; empty where the system does not say.
    memory_bytes : int or None
        What this process may use: physical memory, or less by its control groups.
    transparent_huge_pages : str or None
        The kernel's setting: always, madvise or never.
    threads : dict
        The fields of `engine.limits.Processors`, and "used": how many threads a call of this library uses.
    settings : dict
        Each setting of `rectifier.settings`: its value, and the reason.
    calibration : Calibration or None
        What large calls begin with; None where nothing is compiled.
    engine, engine_reason : str
        Who makes the inner loops, "llvm" or "numpy" (slower), and why.
    gpu : Gpu
        For the arrays of CuPy.
    """

    versions: dict[str, str | None]
    system: str
    processor: str
    microarchitecture: str
    simd: str
    cache_bytes: dict[str, int]
    memory_bytes: int | None
    transparent_huge_pages: str | None
    threads: dict[str, Any]
    settings: dict[str, dict[str, Any]]
    calibration: Calibration | None
    engine: str
    engine_reason: str
    gpu: Gpu


def describe(root: Path = Path("/")) -> Machine:
    """Describe this machine and this installation.

    Computes a little first, because the engine and what it measures are known only once it has run.

    Parameters
    ----------
    root : Path
        Where the ``proc`` and ``sys`` directories of Linux are.

    Returns
    -------
    Machine
    """
    settings.reasons()  # raises what is wrong with an environment variable, where a call would do without the engine
    x = np.zeros(LARGE, np.float32)
    for _ in range(4):  # the first starts helpers, the second may find them there, and then they are measured
        relu(x, out=x)
    engine_name, engine_reason = engine()
    microarchitecture, simd = _instruction_set()
    return Machine(
        versions={"rectifier": __version__, "python": platform.python_version(), **dict(_versions())},
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(root),
        microarchitecture=microarchitecture,
        simd=simd,
        cache_bytes=limits.caches(str(root)),
        memory_bytes=min(limits.memory(str(root)), default=None),
        transparent_huge_pages=_transparent_huge_pages(root),
        threads={**limits.processors(str(root))._asdict(), "used": settings.threads},
        settings={name: setting._asdict() for name, setting in settings.reasons().items()},
        calibration=_calibration(),
        engine=engine_name,
        engine_reason=engine_reason,
        gpu=_gpu(),
    )


def _versions() -> Iterator[tuple[str, str | None]]:
    for package in _PACKAGES:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            yield package, None


def _read(path: Path) -> str:
    """Read a file of the kernel's; nothing, where this kernel has no such file or keeps it to itself."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _processor(root: Path) -> str:
    """Return the processor's name; on Arm, Linux has numbers of the cores, and mostly the board's name."""
    text = _read(root / "proc/cpuinfo")
    fields = (line.partition(":") for line in text.splitlines())
    names = [value.strip() for name, _, value in fields if name.strip() == "model name"]
    if names:
        return names[0]
    board = _read(root / "proc/device-tree/model").rstrip("\0")
    microarchitecture = _instruction_set()[0]
    told = "" if microarchitecture in ("unknown", "generic") else microarchitecture
    return ", ".join(arm.cores(text)) or board or told or platform.processor() or "unknown"


def _instruction_set() -> tuple[str, str]:
    try:
        from llvmlite import binding

        has = binding.get_host_cpu_features()
        levels = (level for name, level in _SIMD.items() if has.get(name))
        return binding.get_host_cpu_name(), next(levels, "none known")
    except (ImportError, OSError, RuntimeError):  # no llvmlite, no library in it, a processor that LLVM cannot read
        return "unknown", "unknown"


def _transparent_huge_pages(root: Path) -> str | None:
    setting = _read(root / "sys/kernel/mm/transparent_hugepage/enabled")  # "always [madvise] never"
    return setting.partition("[")[2].partition("]")[0] or None


def _calibration() -> Calibration | None:
    if not compiled.is_made():
        return None
    words, streaming, rate = compiled.words(), compiled.streaming(), compiled.ticks_per_microsecond()
    gain, reached, woken, least = words.gain, words.reached, words.measured, words.parallel_from
    return Calibration(
        stream_from_bytes=streaming.from_bytes,
        learned_from_bytes=streaming.least,
        learned_to_bytes=streaming.most,
        reason=streaming.reason,
        fetch_lines=words.ahead,
        gain=gain / 1024 if gain and settings.threads > 1 else None,
        reach_microseconds=reached / rate or None,
        wake_microseconds=woken / rate or None,
        share_from_microseconds=least / rate,
    )


def _gpu() -> Gpu:
    if importlib.util.find_spec("cupy") is None:
        return Gpu((), "CuPy is not installed")
    try:
        cupy = importlib.import_module("cupy")
        runtime = cupy.cuda.runtime
        names = (runtime.getDeviceProperties(k)["name"].decode() for k in range(runtime.getDeviceCount()))
        return Gpu(tuple(names), f"CuPy {cupy.__version__}")
    except Exception as error:  # a broken CuPy or driver must not keep anybody from reading the rest
        return Gpu((), f"CuPy finds none: {' '.join(str(error).split())}")
