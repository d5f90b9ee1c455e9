"""Files that the commands write and read: JSON, and sections of pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

Kept = TypeVar("Kept")


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path, schema: Any, program: str, make: Callable[[dict[str, Any]], Kept]) -> Kept:
    """Read JSON that a program wrote, and make of it what was kept.

    Raises
    ------
    ValueError
        If it is something else.
    OSError
        If it cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("schema") != schema:
            raise ValueError
        return make(found)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        wrong = f"{path}: not a file that {program} wrote, or another version of it"
        raise ValueError(f"{wrong}; that program makes one") from None


def read_page(path: Path) -> str:
    """Read a page.

    Raises
    ------
    ValueError
        If it is no text.
    OSError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: no text in UTF-8") from None


def three_digits(value: float | None) -> str:
    """Write a number out with three significant digits."""
    if value is None:
        return "none"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def put_section(page: str, section: str, begin_with: str, end_with: str) -> str:
    """Replace what stands between the markers of a page.

    Raises
    ------
    ValueError
        If it has no markers.
    """
    before, begin, rest = page.partition(begin_with)
    _, end, after = rest.partition(end_with)
    if not begin or not end:
        raise ValueError(f"no {begin_with} and {end_with} on the page: write them where the section is to stand")
    return f"{before}{begin}\n{section}\n{end}{after}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Write a table in Markdown, the first `left` columns of which are aligned to the left.

    Examples
    --------
    >>> print(markdown_table(("call", "ratio"), [("relu", "2x")]))
    | call | ratio |
    |---|---:|
    | relu | 2x |
    """
    line, *lines = (f"| {' | '.join(cells)} |" for cells in (header, *rows))
    return "\n".join([line, f"|{'---|' * left}{'---:|' * (len(header) - left)}", *lines])
