"""Check accuracy over all inputs of a dtype, or over millions that were chosen with malice.

It needs mpmath, SciPy, and ml_dtypes for bfloat16.
"""

from __future__ import annotations

import ast
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

from ... import testing
from ...engine import fingerprint, limits
from ...engine.compiler.kernels import of_one_element
from ...formulas.text import describe
from ...functions.protocols import Activation
from ...functions.specification import Gated, Rowwise, Specification
from ..progress import Advance, Start, silent
from . import multi_input
from .inputs import chosen
from .references import LIBRARIES, reference, references_of_rows
from .results import DTYPES, OPERATIONS, OURS, Row, Stage, Tally
from .single_input import Task, bound, check
from .truth import truth_error

POINTS = {"float32": 1 << 22, "float64": 20_000}  # the others have 65,536 values, and all are taken
_TASK = {"float32": 1 << 22, "float64": 1 << 10}  # inputs of one task, some 0.1 s or a second of work


def verify(
    activations: Iterable[Activation],
    dtypes: Sequence[str] = DTYPES,
    *,
    exhaustive: bool = False,
    points: dict[str, int] = POINTS,
    processes: int | None = None,
    kept: Iterable[Stage] = (),
    start: Start = silent,
    keep: Callable[[list[Stage]], object] = lambda stages: None,
) -> list[Stage]:
    """Check functions against the truth, and other libraries beside them.

    Parameters
    ----------
    activations : functions
        Of this package, or your own. Those of two arrays and of rows are checked on chosen pairs and rows.
    dtypes : names of floating dtypes
        In which to check. All values of a 16-bit dtype are taken.
    exhaustive : bool
        Whether to take all 2^32 float32; the other libraries are then still checked on the chosen ones.
    points : dict
        How many float32 and float64 to choose.
    processes : int, optional
        Among which to share the work; all processors that may be used if none. 1 is this process itself. Others are
        spawned: a script that calls this needs ``if __name__ == "__main__"``.
    kept : Stages
        Of an earlier run: what would be found again is taken from there.
    start : Start
        Starts each stage; its steps are inputs.
    keep : callable
        Called with all stages after each.

    Returns
    -------
    list of Stage
        For each function, one per dtype.

    Examples
    --------
    >>> from rectifier import relu
    >>> [stage] = verify([relu], ["bfloat16"], processes=1)
    >>> stage.holds, stage.row("value").tally.worst_ulp
    (True, 0.0)
    """
    processes = processes or limits.processors().allowed
    known = {stage.key: stage for stage in kept}
    # All digests before any work: whoever edits a file meanwhile does not change what is running.
    plan = [(activation, _blank(activation, dtype, exhaustive)) for activation in activations for dtype in dtypes]
    pool = _pool(processes) if processes > 1 else None
    try:
        for activation, stage in plan:
            if stage.key not in known:
                begin = partial(start, f"{stage.function} {stage.dtype}")
                if takes_several(activation):
                    known[stage.key] = multi_input.check(stage, activation, begin)
                else:
                    tasks = _tasks(activation, stage.dtype, stage.exhaustive, points)
                    known[stage.key] = _fill(stage, activation, tasks, pool, begin(sum(len(t.ranks) for t in tasks)))
                keep([known[stage.key] for _, stage in plan if stage.key in known])
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
    return [known[stage.key] for _, stage in plan]


def takes_several(activation: Any) -> bool:
    """Check whether a function takes pairs or rows of numbers."""
    return isinstance(activation.spec, Gated | Rowwise)


def _blank(activation: Any, dtype: str, exhaustive: bool) -> Stage:
    if takes_several(activation):
        rows = isinstance(activation.spec, Rowwise)
        versions = {
            source: version(LIBRARIES[source]) for source in references_of_rows(activation.__name__, dtype) if rows
        }
        return Stage(activation.__name__, dtype, False, digest(activation.spec, dtype), 0.0, 0.0, versions, ())
    spec, name = activation.spec, activation.spec.full_name
    versions = {source: version(library) for source, library in LIBRARIES.items() if reference(source, name, dtype)}
    exhaustive = dtype in ("float16", "bfloat16") or (dtype == "float32" and exhaustive)
    return Stage(name, dtype, exhaustive, digest(spec, dtype), 0.0, 0.0, versions, ())


def digest(spec: Specification, dtype: str) -> str:
    """Return the hash of what decides the results: the block, and what its kernels do with an element.

    Kernels of rows do more than that, and the code that writes them counts as a whole.
    """
    code = spec.exact.__code__
    parts = [code.co_code.hex(), repr(code.co_consts)]
    if isinstance(spec, Rowwise):
        parts += [describe(formula) for formula in (spec.value, spec.of_sum, spec.weight, spec.backward)]
        parts += map(_code, fingerprint.KERNELS.modules())
    else:
        parts += map(repr, (spec.parameters, spec.special, spec.kinks, spec.zeros, spec.ulp, spec.wide, spec.single))
        for name in ("value", "derivative", "backward"):
            if name in spec.operations:
                module, results = of_one_element(spec, spec.operations[name], dtype, with_defaults=spec.wide)
                parts += [str(module), *(str(node.value) for node in results)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _code(path: Path) -> str:
    """Return the code of a file without comments, layout and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


def _tasks(activation: Any, dtype: str, exhaustive: bool, points: dict[str, int]) -> list[Task]:
    name = activation.spec.full_name
    references = tuple(source for source in LIBRARIES if reference(source, name, dtype))

    def cut(total: int, among: int | None, sources: tuple[str, ...]) -> list[Task]:
        size = _TASK.get(dtype, total)
        starts = range(0, total, size) if sources else ()
        return [Task(activation, dtype, range(i, min(i + size, total)), among, sources) for i in starts]

    if dtype == "float32" and exhaustive:
        among = points["float32"]
        return cut(1 << 32, None, (OURS,)) + cut(chosen(activation, dtype, among).size, among, references)
    if exhaustive:
        return cut(1 << 16, None, (OURS, *references))
    return cut(chosen(activation, dtype, points[dtype]).size, points[dtype], (OURS, *references))


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, get_context("spawn"), _begin)


def _begin() -> None:
    """Set up a process of the pool: one thread, and an end when its parent ends."""
    from ...engine.settings import settings

    settings.threads = 1
    os.environ |= {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}

    def follow(parent: int) -> None:
        connection.wait([parent])
        os._exit(1)

    if parent := parent_process():
        threading.Thread(target=follow, args=(parent.sentinel,), daemon=True).start()


def _fill(
    stage: Stage,
    activation: Activation,
    tasks: list[Task],
    pool: ProcessPoolExecutor | None,
    advance: Advance,
) -> Stage:
    """Do the tasks of a stage, here or in a pool."""
    begin, found = time.perf_counter(), dict[tuple[str, str], Tally]()
    truth_ulp = truth_error(activation, stage.dtype) if stage.dtype != "float64" else 0.0
    for task, tallies in _done(tasks, pool):
        for key, tally in tallies.items():
            found.setdefault(key, Tally()).add(tally)
        advance(len(task.ranks))
    spec, dtype = activation.spec, testing.dtype_of(stage.dtype)
    order = [(operation, source) for operation in OPERATIONS for source in (OURS, *LIBRARIES)]
    rows = tuple(
        Row(
            operation,
            source,
            bound(spec, dtype, operation) if source == OURS else None,
            source == OURS and stage.exhaustive and operation != "backward",
            found[operation, source],
        )
        for operation, source in order
        if (operation, source) in found
    )
    return replace(stage, seconds=time.perf_counter() - begin, truth_ulp=truth_ulp, rows=rows)


def _done(tasks: list[Task], pool: ProcessPoolExecutor | None) -> Iterator[tuple[Task, dict[tuple[str, str], Tally]]]:
    """Yield the tasks with their tallies, as they are done."""
    if pool is None:
        yield from ((task, check(task)) for task in tasks)
    else:
        running = {pool.submit(check, task): task for task in tasks}
        yield from ((running[future], future.result()) for future in as_completed(running))
