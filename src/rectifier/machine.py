"""The machine that a figure was measured on, as far as it decides how fast an activation function is."""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from . import __version__, relu
from .cpu.ufuncs import engine

_PACKAGES = ("numpy", "numba", "llvmlite", "ml_dtypes")
# By LLVM's names, which Numba compiles for; the first that the processor has is the level.
_SIMD = {
    "avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "sse4.2": "SSE4.2", "sse2": "SSE2",
    "sve2": "SVE2", "sve": "SVE", "neon": "NEON",
    "vsx": "VSX", "vector": "VX", "v": "RVV",
}  # fmt: skip


@dataclass(frozen=True)
class Threads:
    """How many threads a process may run at once, and how many this library uses.

    Attributes
    ----------
    logical_processors : int
        What the machine has.
    affinity_processors : int or None
        On how many of them this process may run; None where the system does not say.
    quota_processors : float or None
        The processor time that the control groups allow, in processors; None without a quota.
    allowed : int
        The smallest of these.
    reason : str
        Which of them it was.
    used : int
        What a call of this library uses.
    """

    logical_processors: int
    affinity_processors: int | None
    quota_processors: float | None
    allowed: int
    reason: str
    used: int


@dataclass(frozen=True)
class Gpu:
    """The GPUs that CuPy reaches, or why there is none."""

    devices: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Machine:
    """What decides the speed of a call here; ``dataclasses.asdict`` makes JSON of it.

    Attributes
    ----------
    versions : dict
        Of this library, Python and what it computes with; None for what is not installed.
    system, processor, microarchitecture, simd : str
        Names; the last is the widest vector instruction set, by LLVM's reading of the processor.
    cache_bytes : dict
        Data caches that the first processor sees, such as ``{"L1d": 32768}``; empty where the system does not say.
    memory_bytes : int or None
        Physical memory.
    transparent_huge_pages : str or None
        The kernel's setting: always, madvise or never.
    threads : Threads
        How many a call may use and uses.
    engine, engine_reason : str
        Who makes the inner loops, "numba" or "numpy" (slower), and why.
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
    threads: Threads
    engine: str
    engine_reason: str
    gpu: Gpu


def describe(root: Path = Path("/")) -> Machine:
    """Describe this machine and this installation.

    Computes one element first, because the engine is known only once it has run.

    Parameters
    ----------
    root : Path
        Where the ``proc`` and ``sys`` directories of Linux are.

    Returns
    -------
    Machine
    """
    relu(np.zeros(1, np.float32))
    engine_name, engine_reason = engine()
    microarchitecture, simd = _instruction_set()
    return Machine(
        versions={"rectifier": __version__, "python": platform.python_version(), **dict(_versions())},
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(root),
        microarchitecture=microarchitecture,
        simd=simd,
        cache_bytes=_cache_bytes(root),
        memory_bytes=_memory_bytes(root),
        transparent_huge_pages=_transparent_huge_pages(root),
        threads=_threads(root),
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
    fields = (line.partition(":") for line in _read(root / "proc/cpuinfo").splitlines())
    names = [value.strip() for name, _, value in fields if name.strip() == "model name"]
    return names[0] if names else platform.processor() or "unknown"


def _instruction_set() -> tuple[str, str]:
    try:
        from llvmlite import binding

        has = binding.get_host_cpu_features()
        levels = (level for name, level in _SIMD.items() if has.get(name))
        return binding.get_host_cpu_name(), next(levels, "none known")
    except (ImportError, OSError, RuntimeError):  # no llvmlite, no library in it, a processor that LLVM cannot read
        return "unknown", "unknown"


def _cache_bytes(root: Path) -> dict[str, int]:
    suffix = {"Data": "d", "Unified": ""}
    sizes = {}
    for cache in sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (_read(cache / name) for name in ("type", "level", "size"))
        if kind in suffix and size.endswith("K"):
            sizes[f"L{level}{suffix[kind]}"] = int(size[:-1]) * 1024
    return sizes


def _memory_bytes(root: Path) -> int | None:
    lines = (line.split() for line in _read(root / "proc/meminfo").splitlines())
    return next((int(line[1]) * 1024 for line in lines if line[0] == "MemTotal:"), None)


def _transparent_huge_pages(root: Path) -> str | None:
    setting = _read(root / "sys/kernel/mm/transparent_hugepage/enabled")  # "always [madvise] never"
    return setting.partition("[")[2].partition("]")[0] or None


def _threads(root: Path) -> Threads:
    logical = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    quota = min(_quotas(root), default=None)
    # A quota of 1.5 processors is worth two threads: Go and Java round up as well.
    limits = {"logical processors": logical, "affinity": affinity, "CPU quota": math.ceil(quota) if quota else None}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    reason = min(given, key=given.__getitem__)
    return Threads(logical, affinity, quota, given[reason], reason, used=1)


def _quotas(root: Path) -> Iterator[float]:
    """Give each limit on processor time, in processors, of this process's control groups and those above."""
    where = dict[str, str]()
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        where.update(dict.fromkeys(controllers.split(","), path))
    mounts = root / "sys/fs/cgroup"
    # Version 2 ("": one hierarchy) keeps "quota period" in one file, version 1 in two; a quota without end
    # reads "max" or -1. In a container the path may be the host's: then only the mount's own root exists.
    for controller, mount, files in (
        ("", mounts, ("cpu.max",)),
        ("", mounts / "unified", ("cpu.max",)),
        ("cpu", mounts / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")),
    ):
        group = Path(where.get(controller, "/").lstrip("/"))
        for directory in (group, *group.parents):
            quota, _, period = " ".join(_read(mount / directory / name) for name in files).partition(" ")
            if quota.isdigit() and period.isdigit() and int(quota) > 0:
                yield int(quota) / int(period)


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
