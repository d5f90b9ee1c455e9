"""The place to add a function: one block each, in the file of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..functions.define import complete
from . import exponentials, gates, losses, periodic, piecewise, reductions, rowwise, sigmoids


class Catalogue(Mapping[str, Any]):
    """Functions by name, each made when it is first asked for."""

    def __init__(self, *files: Any) -> None:
        self._functions = {name: getattr(file, name) for file in files for name in file.__all__}

    def __getitem__(self, name: str) -> Any:
        return complete(self._functions[name])

    def draft(self, name: str) -> Any:
        """Return a function as its file defines it, made or not."""
        return self._functions[name]

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


CATALOGUE = Catalogue(piecewise, sigmoids, exponentials, periodic)
GATES = Catalogue(gates)
ROWWISE = Catalogue(rowwise)
REDUCTIONS = Catalogue(reductions)
ALL = Catalogue(piecewise, sigmoids, exponentials, periodic, gates, rowwise, reductions)
LOSSES = Catalogue(losses)  # of rows and targets, and so no functions of arrays alone
