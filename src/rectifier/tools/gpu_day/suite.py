"""The tests that are marked ``gpu``, in a process of their own."""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..progress import Start
from .budget import Budget

TESTS = Path(__file__).parents[4] / "tests"  # of the repository; an installed package has none
STOPPING_SECONDS = 10.0  # for pytest to write out what failed so far
_OUTCOME = re.compile(r"^(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", re.MULTILINE)
_NOT_COLLECTED = re.compile(r"^(ERROR) (\S+\.py)(?: |$)", re.MULTILINE)
_SELECTED = re.compile(r"\b(\d+) selected\b")


@dataclass(frozen=True)
class Suite:
    """The results of the tests.

    Attributes
    ----------
    selected : int
        How many there are; a file that could not be read is one.
    counts : dict
        How many ended in each way, such as ``{"passed": 500}``.
    failed : tuple of str
        Names of those that failed, or could not run, and of files that could not be read.
    """

    selected: int
    counts: dict[str, int]
    failed: tuple[str, ...]


def run(budget: Budget, note: Callable[[str], object], start: Start, tests: Path = TESTS) -> Suite | None:
    """Run the tests on the device; stop them where the time is up."""
    if not (tests / "cupy_stand_in.py").exists():
        note("tests: this package is installed without them; run it from the repository")
        return None
    if importlib.util.find_spec("pytest") is None:
        note("tests: pytest is not installed: pip install -e '.[test,test-gpu]'")
        return None
    advance = start("tests on the device", 1)
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "--color=no", "--continue-on-collection-errors"]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen([*command, str(tests)], cwd=tests.parent, stdout=output, stderr=subprocess.STDOUT)
        try:
            process.wait(max(0.0, budget.left - STOPPING_SECONDS))
        except subprocess.TimeoutExpired:
            note("tests: stopped, as their time was up")
            process.send_signal(signal.SIGINT)
        try:
            process.wait(STOPPING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        output.seek(0)
        found = read(output.read())
    advance()
    missing = found.selected - sum(found.counts.values())
    if missing > 0:
        note(f"tests: {missing} of {found.selected} have not run")
    if not found.selected:
        note(f"tests: none was found; pytest ended with status {process.returncode}")
    return found


def read(text: str) -> Suite:
    r"""Read what ``pytest -v`` wrote, to its end or not.

    Examples
    --------
    >>> read("9 items / 7 deselected / 2 selected\na.py::t[x y] FAILED [ 50%]\n")
    Suite(selected=2, counts={'failed': 1}, failed=('a.py::t[x y]',))
    """
    outcomes = dict(_OUTCOME.findall(text))  # a test that passes may fail at its end, and is named twice
    files = {name: outcome for outcome, name in _NOT_COLLECTED.findall(text)}
    selected = _SELECTED.search(text)
    count = int(selected[1]) if selected else len(outcomes)
    outcomes |= files
    return Suite(
        count + len(files),
        dict(Counter(map(str.lower, outcomes.values()))),
        tuple(name for name, outcome in outcomes.items() if outcome in ("FAILED", "ERROR")),
    )
