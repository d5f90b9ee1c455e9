"""The error for a package that is not installed, with the command that brings it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def sentence(what: str, packages: str, extra: str) -> str:
    """Return a line on what needs packages, such as "zarr, which is", and on the extra that brings them."""
    return f"{what} needs {packages} not installed: pip install 'rectifier[{extra}]'"


@contextmanager
def named(what: str, package: str, extra: str) -> Iterator[None]:
    """Name the extra, where an import of a package fails since that is not installed.

    Raises
    ------
    ModuleNotFoundError
        In place of the one that names the package alone.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        text = sentence(what, f"{package}, which is", extra)
        raise ModuleNotFoundError(text, name=package, path=error.path) from None
