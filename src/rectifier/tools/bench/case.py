"""The work of one point, a call that does it, and the baselines that offer such calls."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product, starmap
from pathlib import Path
from typing import Any

import numpy as np

from ...catalogue import ALL, ROWWISE

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
        One of `points.FUNCTIONS`; an operation of `points.FORMS`, and a form of it.
    dy, x : ndarray
        The gradient from above, and the input; on a GPU, of CuPy.
    out : ndarray or None
        Where the result has to go: x or dy itself in place, None for an array of its own.
    slope : numpy scalar
        Of `leaky_relu`, in the dtype of x.
    alone : bool
        Whether no other call comes between two of these: numexpr can repeat what it computed last.
    """

    function: str
    operation: str
    form: str
    dy: Any
    x: Any
    out: Any
    slope: Any
    alone: bool = True

    @property
    def gradient(self) -> str:
        """Operation without its source: value, derivative or backward."""
        return self.operation.removesuffix("_from_mask")

    @cached_property
    def y(self) -> Any:
        """Value at x."""
        return ALL[self.function](self.x)

    @property
    def into(self) -> dict[str, Any]:
        """Keyword argument ``out``, if there is one."""
        return {} if self.out is None else {"out": self.out}


@dataclass(frozen=True)
class Call:
    """``function(*arguments, **keywords)``, and what follows it: a result that is awaited.

    If the value at x is among the arguments, `y` is that very object: in a step it comes from the call before.
    """

    text: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any] = field(default_factory=dict)
    suffix: str = ""
    to_numpy: Callable[[Any], Any] = lambda array: array.get() if hasattr(array, "get") else np.asarray(array)
    y: Any = None

    def statement(self, prefix: str = "") -> tuple[str, dict[str, Any]]:
        """Return the call as a statement for `timeit`, and the names in it, which begin with the prefix."""
        names = {f"{prefix}a{k}": argument for k, argument in enumerate(self.arguments)}
        keywords = {f"{prefix}{name}": argument for name, argument in self.keywords.items()}
        given = ", ".join([*names, *(f"{name}={prefix}{name}" for name in self.keywords)])
        return f"{prefix}f({given}){self.suffix}", {f"{prefix}f": self.function, **names, **keywords}

    def result(self) -> Any:
        """Compute the call once; return an array of NumPy."""
        return self.to_numpy(self.function(*self.arguments, **self.keywords))


@dataclass(frozen=True)
class Step:
    """The value, and then the backward of the same x: what training does for each activation."""

    value: Call
    backward: Call

    @property
    def text(self) -> str:
        """Both calls, written out."""
        return f"{self.value.text}, then {self.backward.text}"

    def statement(self) -> tuple[str, dict[str, Any]]:
        """Return the step as a statement for `timeit`, and the names in it."""
        text, y, names = self._assignments()
        return f"{text}; del {y}, dx", names  # the next step finds their memory free

    def _assignments(self) -> tuple[str, str, dict[str, Any]]:
        """Return two assignments, the name of the value, and the other names in them."""
        (first, names), (second, more) = self.value.statement("value_"), self.backward.statement("backward_")
        # A backward that takes y gets this value, not that of its arguments.
        taken = [name for name, given in more.items() if self.backward.y is not None and given is self.backward.y]
        (y,) = taken or ["y"]
        return f"{y} = {first}; dx = {second}", y, {**names, **more}

    def result(self) -> Any:
        """Compute the step once; return the value and below it the gradient, an array of NumPy."""
        text, y, names = self._assignments()
        exec(text, names)
        return np.concatenate([self.value.to_numpy(names[y]), self.backward.to_numpy(names["dx"])])


def ways(calls: Callable[[Case], Iterable[Call]], case: Case) -> Iterator[Call | Step]:
    """Yield the calls for a case; for a step, each for the value before each for the backward."""
    if case.operation == "step":
        parts = (replace(case, operation=operation, alone=False) for operation in ("value", "backward"))
        yield from starmap(Step, product(*map(calls, parts)))
    else:
        yield from calls(case)


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


def ours(case: Case) -> Call | Step:
    """Return this library's call."""
    return next(ways(_ours, case))


def _ours(case: Case) -> Iterator[Call]:
    f: Any = ALL[case.function]
    more = f.spec.required | case.into
    match case.operation:
        case "value":
            yield Call("f(x)", f, (case.x,), more)
        case "derivative":
            yield Call("f.derivative(x)", f.derivative, (case.x,), more)
        case "backward" if case.function in ROWWISE:
            yield Call("f.backward(dy, y=y)", f.backward, (case.dy,), {"y": case.y, **more}, y=case.y)
        case "backward":
            yield Call("f.backward(dy, x)", f.backward, (case.dy, case.x), more)
        case "backward_from_mask":
            mask = f.with_mask(case.x, **f.spec.required)[1]
            yield Call("f.backward(dy, mask=mask)", f.backward, (case.dy,), {"mask": mask, **more})
