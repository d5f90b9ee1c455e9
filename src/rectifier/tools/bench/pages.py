"""Write the files of a run: JSON, pictures, a page, and the section of a README."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..documents import markdown_table, put_section, read_page, write
from ..pictures import save_figure
from .baselines import BASELINES
from .charts import draw
from .report import (
    BEGIN,
    END,
    FIRST_HEADER,
    HEADER,
    SUMMARY_HEADER,
    first_rows,
    markdown,
    notes,
    rows,
    summary,
)
from .results import Run, save


def readme_section(result: Run, picture: Callable[[str], str]) -> str:
    """Write the whole section: for one function with its picture, which `picture` finds by its name."""
    functions = {point.function for point in result.by_point}
    if len(functions) > 1:
        return markdown(result)
    return f"{markdown(result)}\n\n![Time of each rival divided by ours]({picture(*functions)})"


def write_all(result: Run, output: Path, readme: Path | None = None) -> list[Path]:
    """Write JSON, pictures, page, and the section of a README if there is one to write.

    Parameters
    ----------
    result : Run
        With at least one measurement.
    output : Path
        A directory that exists.
    readme : Path, optional
        A page with markers.

    Returns
    -------
    list of Path
        What was written.
    """
    kept = output / "run.json"
    save(result, kept)
    figures = draw(result)
    written = [kept]
    for name, figure in figures.items():
        written += save_figure(figure, output / name, digest(kept))
    drawn = [path for path in written if path.suffix == ".svg"]
    written.append(output / "report.md")
    write(written[-1], page(result, drawn).encode())
    if readme:

        def picture(function: str) -> str:
            return Path(os.path.relpath(output / f"{function}-ratio.svg", readme.parent)).as_posix()

        text = put_section(read_page(readme), readme_section(result, picture), BEGIN, END)
        write(readme, text.encode())
        written.append(readme)
    return written


def digest(path: Path) -> str:
    """Return the hash of a file; pictures bear that of their run."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def page(result: Run, pictures: Sequence[Path]) -> str:
    """Write a page in Markdown, with its pictures beside it."""
    packages = ", ".join(dict.fromkeys(version.partition(" ")[0] for version in result.baselines.values()))
    remarks = [f"{one.title}: {one.note}" for one in BASELINES if one.note and one.name in result.baselines]
    sections = {
        f"# rectifier against {packages}": [f"{result.started}, {result.seconds:.0f} s in all.", _list(notes(result))],
        "": [f"![{path.stem}]({path.name})" for path in pictures],
        "## Rival by rival": [markdown_table(SUMMARY_HEADER, summary(result))],
        "## Slower here": [markdown_table(HEADER, slower)] if (slower := rows(result, ("baseline",))) else [],
        "## Against the fastest rival at each point": [markdown_table(HEADER, rows(result))],
        "## First use": [FIRST_NOTE, markdown_table(FIRST_HEADER, first_rows(result))] if result.first_use else [],
        "## How to read a rival": [_list(remarks)] if remarks else [],
        "## Not measured": [_list(result.skipped)] if result.skipped else [],
    }
    return "\n\n".join(line for title, body in sections.items() if body for line in (title, *body) if line) + "\n"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


FIRST_NOTE = (
    "A program that computes one result of a million elements, from the start of its process. From disk: with the "
    "files of the package and of all that it requires out of the page cache, except what of NumPy the measuring "
    "process itself has mapped. Installed: those files. Ours compiles with an empty store of machine code, and finds "
    "what it needs in a filled one."
)
