"""The limits of this process: processors, memory and caches."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

# Fields of /proc/cpuinfo, on x86 and on Arm
MODEL = ("vendor_id", "cpu family", "model", "model name", "stepping", "CPU implementer", "CPU part", "CPU variant")


class Processors(NamedTuple):
    """How many threads this process may run at once.

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
    """

    logical_processors: int
    affinity_processors: int | None
    quota_processors: float | None
    allowed: int
    reason: str


def processors(root: str = "/") -> Processors:
    """Read how many threads this process may run at once.

    Parameters
    ----------
    root : str
        Where the ``proc`` and ``sys`` directories of Linux are.

    Returns
    -------
    Processors
    """
    logical = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    quota = min(_quotas(root), default=None)
    # A quota of 1.5 processors is worth two threads: Go and Java round up as well.
    limits = {"logical processors": logical, "affinity": affinity, "CPU quota": math.ceil(quota) if quota else None}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    reason = min(given, key=given.__getitem__)
    return Processors(logical, affinity, quota, given[reason], reason)


def _quotas(root: str) -> Iterator[float]:
    # Version 2 keeps "quota period" in one file, version 1 in two; a quota without end reads "max" or -1.
    for controller, files in (("", ("cpu.max",)), ("cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us"))):
        for text in _of_control_groups(root, controller, files):
            quota, _, period = text.partition(" ")
            if quota.isdigit() and period.isdigit() and int(quota) > 0:
                yield int(quota) / int(period)


def memory(root: str = "/") -> Iterator[int]:
    """Yield each limit on this process's memory, in bytes: the machine's, and those of its control groups."""
    for line in _read(root, "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            yield int(line.split()[1]) * 1024
    # Version 2 writes "max" where there is no limit, version 1 a number above every machine's memory.
    for controller, file in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
        for text in _of_control_groups(root, controller, (file,)):
            if text.isdigit():
                yield int(text)


def bytes_of(name: str, text: str) -> int:
    """Read a number of bytes that a user wrote.

    Raises
    ------
    ValueError
        If it is none; `name` says what was set to it.
    """
    match = re.fullmatch(r"(\d+) *([kmgt]?)(i?)b?", text.strip(), re.IGNORECASE)
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"{name} is {text!r}; it takes a number of bytes such as 268435456, 256MiB or 0")
    return int(match[1]) * int((1024 if match[3] else 1000) ** " KMGT".index(match[2].upper() or " "))


def caches(root: str = "/") -> dict[str, int]:
    """Return the sizes of the first processor's data caches, such as ``{"L1d": 32768}``, the smallest first."""
    return {name: int(size[:-1]) * 1024 for name, size in _of_caches(root, "size") if size.endswith("K")}


def model(root: str = "/") -> dict[str, str]:
    """Return what Linux says of the first processor that is the same for all of its model."""
    fields = (line.partition(":") for line in _of_first_processor(root))
    return {name.strip(): value.strip() for name, _, value in fields if name.strip() in MODEL}


def _of_first_processor(root: str) -> list[str]:
    # Of a machine of many processors, this file takes long to read whole.
    return _read(root, "proc/cpuinfo", size=8192).partition("\n\n")[0].splitlines()


def is_virtual(root: str = "/") -> bool:
    """Check whether this may be a virtual machine, whose caches others may use: only x86 denies it."""
    flags = next((line for line in _of_first_processor(root) if line.startswith("flags")), "")
    return not flags or "hypervisor" in flags.split()


def online(root: str = "/") -> int:
    """Return how many processors the machine has."""
    return _processors_in(_read(root, "sys/devices/system/cpu/online")) or os.cpu_count() or 1


def sharing(root: str = "/") -> dict[str, int]:
    """Return how many of this machine's processors share each of the first one's data caches, by `caches`' names."""
    counts = ((name, _processors_in(text)) for name, text in _of_caches(root, "shared_cpu_list"))
    return {name: count for name, count in counts if count}


def _of_caches(root: str, what: str) -> Iterator[tuple[str, str]]:
    """Read something of each of the first processor's data caches, the smallest first."""
    directory = os.path.join(root, "sys/devices/system/cpu/cpu0/cache")
    for name in sorted(os.listdir(directory) if os.path.isdir(directory) else ()):
        kind, level = (_read(directory, name, field) for field in ("type", "level"))
        if kind in ("Data", "Unified"):
            yield f"L{level}{'d' if kind == 'Data' else ''}", _read(directory, name, what)


def _processors_in(text: str) -> int:
    """Count the processors of a list such as ``0-3,8``."""
    ranges = [part.split("-") for part in text.split(",") if part.replace("-", "").isdigit()]
    return sum(int(ends[-1]) - int(ends[0]) + 1 for ends in ranges)


def _of_control_groups(root: str, controller: str, files: tuple[str, ...]) -> Iterator[str]:
    """Read files, joined by a space, of the control group of this process and of those above.

    A `controller` is version 1's; version 2 has one hierarchy, with no name. In a container the path may be the
    host's: then only the mount's own root exists.
    """
    where = dict[str, str]()
    for line in _read(root, "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        where.update(dict.fromkeys(controllers.split(","), path))
    parts = where.get(controller, "/").strip("/").split("/")
    for mount in (controller,) if controller else ("", "unified"):
        for depth in range(len(parts), -1, -1):
            directory = os.path.join(root, "sys/fs/cgroup", mount, *parts[:depth])
            yield " ".join(_read(directory, file) for file in files)


def _read(*path: str, size: int = -1) -> str:
    """Read a file of the kernel's, or its start; nothing, where there is none or the kernel keeps it to itself."""
    try:
        with open(os.path.join(*path), errors="replace") as file:
            return file.read(size).strip()
    except OSError:
        return ""
