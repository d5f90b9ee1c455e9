"""What a release and its host take: workflows, scripts, versions. And the commands that the documentation names."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import rectifier

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS = {path.name for path in (ROOT / ".ci").iterdir()}
PAGES = [*ROOT.glob("*.md"), *(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "reference")]


def workflows():
    yaml = pytest.importorskip("yaml")
    found = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    assert len(found) >= 3
    return found


def test_workflows_run_scripts_that_are_here():
    lines = [
        step["run"]
        for workflow in workflows().values()
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    called = {line.split()[0].removeprefix(".ci/") for line in lines if line.startswith(".ci/")}
    assert called >= {"bench", "docs", "extras", "lint", "tests", "versions", "wheels"}
    assert called <= SCRIPTS
    others = [line for line in lines if not line.startswith(".ci/")]
    extras = {name for line in others for name in re.search(r"-e '\.\[(.*)\]'$", line)[1].split(",")}
    assert extras <= set(PROJECT["optional-dependencies"])


def test_the_matrix_has_the_versions_that_are_claimed():
    claimed = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    matrix = workflows()["ci.yml"]["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert claimed == matrix
    assert PROJECT["requires-python"] == f">={claimed[0]}"
    support = (ROOT / "docs" / "support.md").read_text(encoding="utf-8")
    assert f"Python {claimed[0]} to {claimed[-1]}" in support
    oldest = re.search(r"numpy>=([\d.]+)", " ".join(PROJECT["dependencies"]))[1]
    assert f"NumPy from {oldest}" in support
    assert f"numpy=={oldest}.*" in (ROOT / ".ci" / "versions").read_text()


def test_scripts_may_be_run():
    for name in SCRIPTS:
        assert os.access(ROOT / ".ci" / name, os.X_OK), name


def test_every_extra_is_tried_alone():
    script = (ROOT / ".ci" / "extras").read_text(encoding="utf-8")
    tried = set(re.findall(r"^ {8}(\w+)\) ", script, re.MULTILINE))
    assert tried == {name for name in PROJECT["optional-dependencies"] if not name.startswith("test")}


def test_the_citation_has_the_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", text, re.MULTILINE)[1] == rectifier.__version__


def commands():
    """List the lines of shell in the documentation, and where each stands."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
        spans = re.findall(r"`((?:rectifier (?!info`)|python -m rectifier|\.ci/)[^`\n]*|rectifier info)`", text)
        lines = [line.partition("  #")[0] for block in blocks for line in block.splitlines()]
        for line in [*lines, *spans]:
            for part in re.split(r" && | \|\| |; ", line.strip()):
                found.setdefault(part, page.name)
    assert len(found) > 30
    return found


KNOWN = (
    "cd",
    "git",
    "mpirun",
    "python3",
    "source",
    "dask",
    "docker",
    "tests/engine/arm/prepare",
    "tests/engine/arm/run",
)


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_documentation_is_one(line):
    """Its program is here, and takes these arguments; that of `pip` installs an extra that there is."""
    words = [word for word in shlex.split(line, comments=True) if "=" not in word or word.startswith("-")]
    if not words:
        return
    if words[:3] == ["python", "-m", "rectifier"]:
        words = ["rectifier", *words[3:]]
    if words[0] == "rectifier":
        pytest.importorskip("typer")
        from typer.main import get_command

        from rectifier.tools.cli.application import application

        group = get_command(application())
        if words[1:] and not words[1].startswith("-") and words[1] != "...":
            command = group.commands[words[1]]
            given = [word for word in words[2:] if word not in ("...", ">", "run.json")]
            options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            assert {word.partition("=")[0] for word in given if word.startswith("--")} <= options, line
    elif words[0].startswith(".ci/"):
        assert words[0].removeprefix(".ci/") in SCRIPTS
    elif words[:2] == ["pip", "install"]:
        extras = {name for word in words for found in re.findall(r"\[(.*)\]", word) for name in found.split(",")}
        assert extras <= set(PROJECT["optional-dependencies"]), line
    elif words[0] == "python":
        path = ROOT / words[1]
        assert words[1] == "-m" or path.exists(), line
        if words[1] == "-m" and words[2].startswith("rectifier"):
            module = ROOT / "src" / Path(*words[2].split("."))
            assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), line
    elif words[0] not in KNOWN:
        assert words[0] in ("pytest", "dask-scheduler", "dask-worker", "pre-commit"), line
