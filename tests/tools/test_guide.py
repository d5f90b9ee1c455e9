"""Each block of Python in the documentation runs, those of a page one after another."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from conftest import require_gpu_tier, run_python

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if page.parent.name != "reference" and "```python\n" in page.read_text(encoding="utf-8")
]
assert len(PAGES) >= 8


def optional_packages() -> set[str]:
    """List what this package's extras bring, by the names under which it is imported."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return {re.match(r"[\w-]+", need)[0].replace("-", "_") for needs in extras.values() for need in needs}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    if page.stem == "gpu":
        require_gpu_tier("gpu")
    if page.stem == "settings":  # which are those of a process
        run = run_python("\n".join(blocks))
        assert run.returncode == 0, run.stderr
        return
    namespace = {"__name__": "guide"}
    for number, block in enumerate(blocks):
        try:
            exec(compile(block, f"{page.name}, block {number}", "exec"), namespace)
        except ModuleNotFoundError as error:
            if error.name not in optional_packages() - {"rectifier"}:
                raise
            pytest.skip(f"block {number} needs {error.name}, which is not installed")
