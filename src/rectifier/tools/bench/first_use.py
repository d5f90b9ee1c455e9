"""The cost of a program's first result: import, compilation, memory, files."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ..progress import Start
from . import worker
from .baselines import OUR_FIRST
from .case import Baseline

_FIRST = """
import json, sys, time
from pathlib import Path
before = time.perf_counter()
{imports}
imported = time.perf_counter()
{expression}
now = time.time()
# ru_maxrss would be the parent's, who forked.
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
peak = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
print(json.dumps([imported - before, now - float(sys.argv[1]), peak]))
"""


def first_uses_of(
    baselines: Sequence[Baseline],
    runs: int,
    threads: int,
    skip: Callable[[str], object],
    start: Start,
) -> dict[str, dict[str, float | None]]:
    """Measure a program that computes one result: ours with an empty and a filled store, and each baseline's."""
    programs = [(f"rectifier, {store} store", "rectifier", OUR_FIRST, store) for store in ("empty", "filled")]
    programs += [
        (baseline.name, baseline.packages[0], baseline.first, "filled") for baseline in baselines if baseline.first
    ]
    advance = start("first use", len(programs))
    found = {}
    for name, package, program, store in programs:
        try:
            with tempfile.TemporaryDirectory() as directory:
                found[name] = _first_use(package, program, store, Path(directory), runs, worker.environment(threads))
        except (subprocess.SubprocessError, OSError, LookupError, ValueError) as error:
            skip(f"{name}: first use: {' '.join(str(error).split())}")
        advance()
    return found


def _first_use(
    package: str, program: tuple[str, str], store: str, directory: Path, runs: int, environment: dict[str, str]
) -> dict[str, float | None]:
    """Time a program that computes one result, from the start of its process, with a store of machine code."""
    code = _FIRST.format(imports=program[0], expression=program[1])
    files = installed_files(package)
    count = 0

    def once(evicting: bool) -> list[Any]:
        nonlocal count
        count += 1
        kept = directory / (f"store-{count}" if store == "empty" else "store")
        kept.mkdir(mode=0o700, exist_ok=True)
        if evicting:
            _evict([*files, *(path for path in kept.rglob("*") if path.is_file())])
        command = [sys.executable, "-P", "-c", code, str(time.time())]
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            env={**environment, "RECTIFIER_STORE": str(kept)},
        )
        if done.returncode:
            raise ValueError((done.stderr.splitlines() or [f"ended with status {done.returncode}"])[-1])
        figures: list[Any] = json.loads(done.stdout.splitlines()[-1])
        return figures

    once(False)
    imports, results, peaks = zip(*(once(False) for _ in range(runs)), strict=True)
    from_disk = [once(True)[1] for _ in range(runs)] if hasattr(os, "posix_fadvise") else []
    return {
        "import_seconds": statistics.median(imports),
        "first_result_seconds": statistics.median(results),
        "first_result_from_disk_seconds": statistics.median(from_disk) if from_disk else None,
        "peak_memory_bytes": None if None in peaks else statistics.median(peaks),
        "installed_bytes": sum(path.stat().st_size for path in files),
    }


def _evict(files: Sequence[Path]) -> None:
    """Drop files from the page cache, except what another process has mapped."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())  # what is still to be written stays
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def installed_files(package: str) -> list[Path]:
    """List the files of a package, and of everything that it requires."""
    # Matplotlib, which draws the pictures, requires it.
    from packaging.requirements import Requirement

    spec = importlib.util.find_spec(package)
    found = {path for folder in (spec and spec.submodule_search_locations) or () for path in Path(folder).rglob("*")}
    names, seen = metadata.packages_distributions().get(package, [package]), set[str]()
    while names:
        name = names.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if distribution.metadata["Name"] in seen:
            continue
        seen.add(distribution.metadata["Name"])
        found.update(Path(str(distribution.locate_file(file))) for file in distribution.files or ())
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
                names.append(requirement.name)
    return sorted({path.resolve() for path in found if path.is_file()})
