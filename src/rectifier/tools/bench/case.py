"""The work of one point, a call that does it, and the baselines that offer such calls."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...catalogue import CATALOGUE

DEFAULT_FORMS = ("default", "fresh", "unpooled")  # of a call that makes its result


def threads() -> int:
    """Return how many threads ours and each baseline use, from the environment of the process of a pair."""
    return int(os.environ.get("RECTIFIER_THREADS") or 1)


@dataclass(frozen=True)
class Case:
    """The work of one point.

    Attributes
    ----------
    function, operation, form : str
        A name of the catalogue; value, derivative, backward or backward_from_mask; one of `points.FORMS`.
    dy, x : ndarray
        The gradient from above, and the input; on a GPU, of CuPy.
    out : ndarray or None
        Where the result has to go: x or dy itself in place, None for an array of its own.
    slope : numpy scalar
        Of `leaky_relu`, in the dtype of x.
    """

    function: str
    operation: str
    form: str
    dy: Any
    x: Any
    out: Any
    slope: Any

    @property
    def gradient(self) -> str:
        """Operation without its source: value, derivative or backward."""
        return self.operation.removesuffix("_from_mask")

    @cached_property
    def y(self) -> Any:
        """Value at x."""
        return CATALOGUE[self.function](self.x)

    @property
    def into(self) -> dict[str, Any]:
        """Keyword argument ``out``, if there is one."""
        return {} if self.out is None else {"out": self.out}


@dataclass(frozen=True)
class Call:
    """``function(*arguments, **keywords)``, and what follows it: a result that is awaited."""

    text: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any] = field(default_factory=dict)
    suffix: str = ""
    to_numpy: Callable[[Any], Any] = lambda array: array.get() if hasattr(array, "get") else np.asarray(array)

    def statement(self) -> tuple[str, dict[str, Any]]:
        """Return the call as a statement for `timeit`, and the names in it."""
        names = {f"a{k}": argument for k, argument in enumerate(self.arguments)}
        keywords = [f"{name}={name}" for name in self.keywords]
        return f"f({', '.join([*names, *keywords])}){self.suffix}", {"f": self.function, **names, **self.keywords}

    def result(self) -> Any:
        """Compute the call once; return an array of NumPy."""
        return self.to_numpy(self.function(*self.arguments, **self.keywords))


@dataclass(frozen=True)
class Baseline:
    """Another library, or the recipe in one, that computes the same functions.

    Attributes
    ----------
    name, title : str
        On the command line, and in a table.
    packages : tuple of str
        What must be installed; the ``__version__`` of the first is reported.
    calls : callable
        From a case to the ways in which this baseline does it; none where it does not.
    first : tuple of str
        Imports, and an expression: a program that computes one result, which is what a short script pays for.
    note : str
        What a reader of its figures should know.
    quick : bool
        Whether the quick run measures it.
    gpu : bool
        Whether it runs on a GPU of NVIDIA's, as ours does then, by CuPy.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    calls: Callable[[Case], Iterator[Call]]
    first: tuple[str, str] | None = None
    note: str = ""
    quick: bool = True
    gpu: bool = False

    def missing(self) -> str | None:
        """Return why the baseline cannot be measured here; None if it can."""
        absent = [package for package in self.packages if importlib.util.find_spec(package) is None]
        if absent:
            return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed"
        return "no GPU of NVIDIA's here" if self.gpu and not Path("/dev/nvidiactl").exists() else None


def ours(case: Case) -> Call:
    """Return this library's call."""
    f: Any = CATALOGUE[case.function]
    match case.operation:
        case "value":
            return Call("f(x)", f, (case.x,), case.into)
        case "derivative":
            return Call("f.derivative(x)", f.derivative, (case.x,), case.into)
        case "backward":
            return Call("f.backward(dy, x)", f.backward, (case.dy, case.x), case.into)
    return Call("f.backward(dy, mask=mask)", f.backward, (case.dy,), {"mask": f.with_mask(case.x)[1], **case.into})
