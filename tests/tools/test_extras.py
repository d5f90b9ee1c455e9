"""Each extra alone, as pyproject.toml has it: what it brings is found, and nothing else that is installed here.

A command does what its packages allow, or says in one line which extra has the others, before it writes anything.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rectifier.tools.extras import PACKAGES

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: needs for name, needs in PROJECT["optional-dependencies"].items() if not name.startswith("test")}
RUN = str(ROOT / "benchmarks" / "run.json")

# Arguments of `rectifier`, the packages that they need by the names they are imported by, and the extra that has them.
COMMANDS = [
    (["--version"], {}, "cli"),
    (["--help"], {}, "cli"),
    (["info", "--json"], {}, "cli"),
    (["tune", "--help"], {}, "cli"),
    *(([command, "--help"], {}, command) for command in ("apply", "bench", "demo", "verify")),
    (["apply", "relu", "x.npy", "y.npy"], {}, "apply"),
    (["apply", "relu", "x.npz", "y.npz"], {}, "apply"),
    (["apply", "relu", "x.npy", "y.h5"], {"h5py"}, "apply"),
    (["apply", "relu", "x.npy", "y.zarr"], {"zarr"}, "apply"),
    (["apply", "relu", "x.npy", "z.npy", "--scheduler", "tcp://a"], {"dask", "distributed"}, "distributed"),
    (["bench", "--compare", RUN, RUN], {"scipy"}, "bench"),
]
LONG = [  # refused as soon as the others, and done in seconds
    (["bench", "--from", RUN, "--output", "pictures"], {"matplotlib", "scipy"}, "bench"),
    (["demo", "--quick", "--output", "demo"], {"matplotlib", "sklearn"}, "demo"),
    (["verify", "relu", "--dtype", "bfloat16", "--processes", "1"], {"ml_dtypes", "mpmath", "scipy"}, "verify"),
]

# What Python runs first: then what an extra does not bring is not found, and neither are its entry points.
HIDE = """
import re, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {hidden!r} else self.finder.find_spec(name, path, target)

    def find_distributions(self, *context):
        for distribution in getattr(self.finder, "find_distributions", lambda *_: ())(*context):
            if re.sub("[-_.]+", "-", distribution.name).lower() in {kept!r}:
                yield distribution

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""

RUN_ALL = """
import contextlib, io, json, os, sys
from rectifier.tools import cli

results = []
for arguments in json.loads(sys.argv[1]):
    before, out, error, sys.argv = set(os.listdir()), io.StringIO(), io.StringIO(), ["rectifier", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
    results.append((code, out.getvalue(), error.getvalue(), sorted(set(os.listdir()) - before)))
print(json.dumps(results))
"""


@cache
def owners() -> dict[str, set[str]]:
    """Map what can be imported here to the distributions that it is of."""
    return {name: {*map(canonicalize_name, them)} for name, them in metadata.packages_distributions().items()}


@cache
def brought(extra: str | None) -> set[str]:
    """List the distributions that the project brings with an extra, of those that are installed here."""
    found: set[str] = set()
    waiting = [*map(Requirement, PROJECT["dependencies"]), *map(Requirement, EXTRAS.get(extra, []))]
    seen = set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), tuple(sorted(requirement.extras)) or ("",)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name == "rectifier":
            waiting += [Requirement(line) for one in extras for line in EXTRAS[one]]
            continue
        try:
            lines = metadata.distribution(name).requires or ()
        except metadata.PackageNotFoundError:
            pytest.skip(f"{extra} is not installed here: {name}")
        found.add(name)
        for line in map(Requirement, lines):
            if line.marker is None or any(line.marker.evaluate({"extra": one}) for one in ("", *extras)):
                waiting.append(line)
    return found


def environment(extra: str | None, folder: Path) -> dict[str, str]:
    """Make an environment in which only what an extra brings is found."""
    keep = brought(extra) | {"rectifier"}
    hidden = {name for name, distributions in owners().items() if not distributions & keep} - {"rectifier"}
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE.format(hidden=hidden, kept=keep))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "src")]), "COLUMNS": "200"}


def packages(extra: str | None) -> set[str]:
    """List what an extra lets be imported."""
    return {name for name, distributions in owners().items() if distributions & brought(extra)}


def run_all(extra: str | None, commands: list[list[str]], folder: Path) -> list[tuple[int, str, str, list[str]]]:
    """Run commands with what an extra brings: exit status, stdout, stderr, the files that are new."""
    hidden, work = environment(extra, folder / "site"), folder / "work"
    work.mkdir()
    x = np.arange(-3, 3, dtype="f4")
    np.save(work / "x.npy", x)
    np.savez(work / "x.npz", x)
    command = [sys.executable, "-c", RUN_ALL, json.dumps(commands)]
    run = subprocess.run(command, env=hidden, cwd=work, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


SOON = (None, "cli", "apply")  # the others are in the slow tier


@pytest.mark.parametrize(
    "extra", [pytest.param(one, marks=() if one in SOON else pytest.mark.slow) for one in (None, *EXTRAS)]
)
def test_each_command_does_what_an_extra_allows_or_says_what_it_needs(extra, tmp_path):
    there = packages(extra)
    no_command = {*PACKAGES["cli"]} - there
    cases = [*COMMANDS, *(case for case in LONG if no_command or case[1] - there)]
    found = run_all(extra, [command for command, _, _ in cases], tmp_path)
    for (command, needs, named), (code, out, error, made) in zip(cases, found, strict=True):
        absent = no_command or set(needs) - there
        if not absent:
            assert (code, error) == (0, ""), command
            assert out or made
            continue
        assert (code, out, made) == (2, "", []), (command, error)
        assert error.count("\n") == 1
        if no_command:
            named = command[0] if command[0] in EXTRAS else "cli"
        assert f"not installed: pip install 'rectifier[{named}]'" in error
        for name in absent:
            assert re.search(rf"\b{'scikit-learn' if name == 'sklearn' else name}\b", error)
    if not no_command:
        assert np.load(tmp_path / "work" / "y.npy").tolist() == [0, 0, 0, 0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("case", LONG, ids=lambda case: case[0][0])
def test_the_command_of_an_extra_works_with_it_alone(case, tmp_path):
    command, needs, extra = case
    assert needs <= packages(extra)
    ((code, out, error, made),) = run_all(extra, [command], tmp_path)
    assert code == 0, error
    assert out
    assert made


@pytest.mark.parametrize("extra", PACKAGES)
def test_an_extra_brings_what_its_command_asks_for(extra):
    assert {*PACKAGES[extra]} <= packages(extra)
    assert extra == "distributed" or {*PACKAGES["cli"]} <= packages(extra)


@pytest.mark.parametrize("extra", [pytest.param("dask", marks=pytest.mark.slow), "distributed"])
def test_an_extra_of_dask_brings_what_the_guide_uses(extra, tmp_path):
    code = "import dask.array as da, rectifier; print(rectifier.relu(da.arange(-2, 3, chunks=2)).sum().compute())"
    if extra == "distributed":
        code = f"from distributed import Client, LocalCluster; {code}"
    hidden = environment(extra, tmp_path / "site")
    run = subprocess.run([sys.executable, "-c", code], env=hidden, capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "3", run.stderr


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("rectifier.testing", "mpmath", "verify"),
        ("rectifier.compat.onnx", "onnx", "onnx"),
        ("rectifier.compat.thinc", "thinc", "thinc"),
    ],
)
def test_a_module_names_the_extra_that_it_lacks(module, package, extra, monkeypatch):
    assert any(Requirement(line).name == package for line in EXTRAS[extra])
    there = [name for name in sys.modules if name == module or name.startswith((f"{module}.", f"{package}."))]
    for name in there:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "path", [])  # nothing that is not loaded is found
    monkeypatch.setattr(sys, "path_importer_cache", {})
    said = f"{module} needs {package}, which is not installed: pip install 'rectifier[{extra}]'"
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(said)}$"):
        importlib.import_module(module)


def test_a_page_lists_every_extra_and_what_it_brings():
    rows = re.findall(r"^\| `\[(\w+)\]` \|.*\| (.*) \|$", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)
    expected = ["cli", "apply", "demo", "bench", "verify", "numba", "dask", "distributed", "onnx", "thinc", "docs"]
    assert [name for name, _ in rows] == expected
    assert {name for name, _ in rows} == {*EXTRAS}
    for extra, said in rows:
        names = [Requirement(line).name for line in EXTRAS[extra]]
        for name in names:
            assert name == "rectifier" or name.replace("-", "").lower() in said.replace("-", "").lower(), (extra, name)


def test_python_m_rectifier_is_the_command():
    command = [sys.executable, "-m", "rectifier", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    assert re.fullmatch(r"rectifier \d+\.\d+.*\n", run.stdout)
