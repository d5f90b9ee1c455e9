"""The place to add a function: one block each, in the file of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .._activation import Activation, complete
from . import exponentials, piecewise, sigmoids


_FILES = (piecewise, sigmoids, exponentials)


class _Catalogue(Mapping[str, Activation]):
    """The functions by name, each made when it is first asked for."""

    def __init__(self) -> None:
        self._functions = {name: getattr(module, name) for module in _FILES for name in module.__all__}

    def __getitem__(self, name: str) -> Activation:
        return complete(self._functions[name])

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


CATALOGUE = _Catalogue()
