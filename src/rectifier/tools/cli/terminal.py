"""The output of commands: results and tables to stdout; refusals and notes to stderr."""

import errno
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn


def say(line: str) -> None:
    """Write a line to stderr, if that takes it."""
    with suppress(OSError):
        print(line, file=sys.stderr)


def require(command: str, lacks: str) -> None:
    """End with 2 if a command lacks packages."""
    if lacks:
        say(f"{command}: {lacks}")
        raise SystemExit(2)


def require_known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that is not among the known ones, with the nearest of them."""
    known = list(known)
    if unknown := [name for name in names if name not in known]:
        near = dict.fromkeys(one for name in unknown for one in get_close_matches(name.lower(), known, 1))
        meant = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise ValueError(f"no {what} {', '.join(unknown)}{meant}: there are {', '.join(known)}")


def require_writable(output: Path) -> None:
    """Make a directory, and check that it takes files."""
    if output.is_file():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(output))
    output.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=output).close()


def refuse(command: str, error: Exception, path: Path | None = None) -> NoReturn:
    """Write in one line what is wrong, and end with 2; the system's errors name their file, or it is `path`."""
    what: object = error
    if isinstance(error, OSError):
        what = f"{error.filename or path}: {error.strerror or error}"
    say(f"rectifier {command}: {what}")
    raise SystemExit(2) from None


def table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    colors: Sequence[str] = (),
    color: Callable[[str], str] | None = None,
) -> Any:
    """Return a table for `show`.

    Parameters
    ----------
    title : str
    header : sequence of str
        Names of the columns; all but the first are aligned to the right.
    rows : sequence of sequence of str
    colors : sequence of str
        Of each row, if they have any.
    color : callable or None
        Returns the color of a cell; rows that begin with the same cell make a section then.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=color is None
    )
    for column, name in enumerate(header):
        result.add_column(name, justify="right" if column else "left", no_wrap=True)
    for number, row in enumerate(rows):
        of_row = colors[number] if colors else ""
        last = number + 1 == len(rows) or rows[number + 1][0] != row[0]
        cells = (Text(cell, color(cell) if color else of_row) for cell in row)
        result.add_row(*cells, end_section=color is not None and last)
    return result


def show(
    result: Any, render: Callable[[Any], list[Any]], as_json: bool, done: str = "", plain: Callable[[Any], Any] = asdict
) -> None:
    """Write a result to stdout; if that cannot be, say so, and what is done all the same, and end with 1.

    Parameters
    ----------
    result : object
        Or a list of such.
    render : callable
        Returns the lines and tables of the result.
    as_json : bool
        Whether to write JSON instead.
    done : str
        What is done if stdout fails.
    plain : callable
        Returns what JSON can hold of a result.
    """
    from rich.console import Console

    try:
        if as_json:
            print(json.dumps([*map(plain, result)] if isinstance(result, list) else plain(result), indent=2))
        else:
            console = Console(highlight=False, markup=False, emoji=False)  # a path or a processor's name is no markup
            for part in render(result):
                console.print(part, soft_wrap=isinstance(part, str))
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # what is still in its buffer would fail again at the end of the process
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        say(f"rectifier: standard output: {error.strerror or error}{done}")
        raise SystemExit(1) from None


def binary(size: int) -> str:
    """Write a number of bytes in the largest unit that leaves at least 1."""
    if not size:
        return "nothing"
    units = {2**30: "GiB", 2**20: "MiB", 2**10: "KiB", 1: "bytes"}
    unit = next(unit for unit in units if size >= unit)
    return f"{size / unit:.3g} {units[unit]}"
