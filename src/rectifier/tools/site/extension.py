"""What Sphinx calls: it writes the made pages into the sources before they are read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ... import __version__
from ...catalogue import ALL
from ..bench import history
from ..documents import write
from . import commands, curves, reference

_OUTSIDE = re.compile(r"\]\((?:\.\./)*(CONTRIBUTING|CHANGELOG|CODE_OF_CONDUCT|SECURITY)\.md")


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", _write_pages)
    app.connect("source-read", _link_pages)
    app.connect("include-read", lambda app, path, parent, content: _link_pages(app, parent, content))
    app.connect("build-finished", _write_curves)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}


def _write_pages(app: Any) -> None:
    from sphinx.ext.napoleon import Config
    from sphinx.ext.napoleon.docstring import NumpyDocstring

    style: Any = Config(napoleon_use_rtype=False, napoleon_use_param=True)

    def rst(text: str) -> str:
        return str(NumpyDocstring(text, style, what="function"))

    sources = Path(app.srcdir)
    kept = reference.Kept(sources.parent / "benchmarks")
    pages = {name: reference.page(name, kept, rst) for name in reference.functions()}
    pages |= {"index": reference.index(), "other": reference.others(), "commands": commands.page()}
    records = history.load(sources.parent / "benchmarks" / "history.json")
    for run in kept.runs:
        records = history.add(records, history.of_run(run))
    pages["history"] = history.page(records)
    folder = sources / "reference"
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.md"):
        if path.stem not in pages:  # of a function that is gone
            path.unlink()
    for name, text in pages.items():
        path, data = folder / f"{name}.md", text.encode()
        if not path.exists() or path.read_bytes() != data:  # else Sphinx would read it anew
            write(path, data)


def _write_curves(app: Any, failed: Exception | None) -> None:
    """Write the numbers of the interactive page: a script for each function, which the page loads when it is chosen."""
    if failed or app.builder.name != "html":
        return
    folder = Path(app.outdir, "_static", "curves")
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for name, function in ALL.items():
        found = curves.drawn(function)
        if found is not None:
            names.append(name)
            write(folder / f"{name}.js", f"rectifierCurves({json.dumps(name)}, {json.dumps(found)})\n".encode())
    write(folder / "index.js", f"window.rectifierFunctions = {json.dumps(sorted(names))}\n".encode())


def _link_pages(app: Any, name: str, content: list[str]) -> None:
    """Point links to files of the repository at the pages that include them, and links of such files to pages."""
    up = "../" * name.count("/")
    content[0] = _OUTSIDE.sub(lambda found: f"]({up}{found[1].lower()}.md", content[0]).replace("](docs/", f"]({up}")
