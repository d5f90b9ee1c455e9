"""The pages of the reference, made of the catalogue: a function added there has its page by itself."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...catalogue import ALL
from ...functions import docstrings
from ...functions.specification import Elementwise, Gated, Specification
from ..bench import results
from ..bench.points import FUNCTIONS as MEASURED
from ..bench.report import markdown as speed_section
from ..documents import markdown_table
from ..verify import places, report
from ..verify.results import OURS, Stage
from .figures import error_chart, function_chart, speed_chart
from .mathml import formula

# In the order of the guide; what a function lacks is left out.
_OF_DEFINITIONS = ("ufunc", "spec", "of", "methods", "formula", "weight", "gradient", "cuda_source")
METHODS = ("derivative", "backward", "value_and_derivative", "with_mask", "vjp")
_FORMULA = re.compile(r"^The formula is ``.*?``(, its derivative ``.*?``)?\.\s*", re.MULTILINE)  # in primitives: long


class Kept:
    """The runs that are kept with the sources, from which the pages take figures.

    Parameters
    ----------
    benchmarks : Path
        The directory.
    """

    def __init__(self, benchmarks: Path) -> None:
        self.stages: dict[str, list[Stage]] = {}
        for stage in report.load(benchmarks / "verify.json"):
            self.stages.setdefault(stage.function, []).append(stage)
        self.errors = places.load(benchmarks / "errors.json")
        self.runs = [results.load(benchmarks / f"{name}.json") for name in ("run", "family-float32")]

    @cache  # noqa: B019  (there is one)
    def run(self, function: str) -> results.Run | None:
        """Return what was measured of a function alone, if it was."""
        for run in self.runs:
            measurements = tuple(m for m in run.measurements if m.point.function == function)
            if measurements:
                return replace(run, measurements=measurements)
        return None


def functions() -> dict[str, Any]:
    """Return all public functions that were made of blocks, by their names."""
    import rectifier

    public = {name: getattr(rectifier, name) for name in vars(rectifier)["__all__"] if name not in ALL}
    return {
        **ALL,
        **{name: value for name, value in public.items() if inspect.isfunction(value) and hasattr(value, "spec")},
    }


def kinds() -> dict[str, list[str]]:
    """Return the names of functions by the titles of the catalogue's files."""
    found: dict[str, list[str]] = {}
    for name, function in functions().items():
        module = sys.modules[_block(function).__module__]
        found.setdefault((module.__doc__ or name).splitlines()[0].rstrip("."), []).append(name)
    return found


def _block(function: Any) -> Any:
    spec = getattr(function, "spec", None)
    return getattr(spec, "value", None) or function


def index() -> str:
    """Write the page that lists all functions."""
    parts = [
        "# Functions",
        "Each page has the formula, a plot, special values, accuracy, speed, and every call with its parameters. "
        "[Draw any of them](../draw.md) and move their parameters.",
    ]
    for title, names in kinds().items():
        rows = [(f"[{name}]({name}.md)", _summary(functions()[name])) for name in sorted(names)]
        parts += [f"## {title}", markdown_table(("function", "what it is"), rows, left=2)]
    entries = "\n".join([*sorted(functions()), "other", "commands"])
    parts.append(f"```{{toctree}}\n:hidden:\n\n{entries}\n```")
    return "\n\n".join(parts) + "\n"


def _summary(function: Any) -> str:
    text = inspect.getdoc(_block(function)) or inspect.getdoc(function) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", r"\|")


def page(name: str, kept: Kept, rst: Callable[[str], str]) -> str:
    """Write the page of a function.

    Parameters
    ----------
    name : str
        In the catalogue.
    kept : Kept
        Figures.
    rst : callable
        Makes reStructuredText of a numpydoc docstring.

    Returns
    -------
    str
        Markdown, for MyST.
    """
    function = functions()[name]
    spec: Specification = function.spec
    parts = docstrings.split(inspect.getdoc(_block(function)))
    text = [f"# {name}", _summary(function), *_prose(parts.prose)]
    second = (spec.gate,) if isinstance(spec, Gated) else ()
    shown = formula(name, spec.exact, ("x", *second), spec.parameters) if getattr(spec, "exact", None) else ""
    text += [f'<div class="formula">{shown}</div>'] if shown else []
    text += _plot(function)
    text += ["## Values to know", *_special(function)] if isinstance(spec, Elementwise) else []
    text += ["## Accuracy", *_accuracy(kept.stages.get(name, ())), *_errors(name, spec, kept)]
    text += ["## Speed", *_speed(name, kept)]
    text += ["## Calls", eval_rst(calls(name, function, rst))]
    if parts.references:
        text += ["## Where it comes from", " ".join(parts.references.split())]
    return "\n\n".join(text) + "\n"


def _prose(text: str) -> list[str]:
    """Return the paragraphs of a block's docstring; a numpydoc section in it is left to the calls."""
    before = re.split(r"^\w[\w ]*\n-{3,}$", text, maxsplit=1, flags=re.MULTILINE)[0]
    return [" ".join(part.split()) for part in before.strip().split("\n\n") if part.strip()]


def _plot(function: Any) -> list[str]:
    try:
        drawn = function_chart(function)
    except (TypeError, ValueError, AttributeError):  # of other arguments than x: targets, say
        return []
    return [
        f"<figure>{drawn}</figure>",
        f'<p><a href="../draw.html#{function.__name__}">Draw it beside another, and move its parameters</a></p>',
    ]


def _special(function: Any) -> list[str]:
    """List what a function and its derivative are where a block says something, as the library computes it."""
    spec: Elementwise = function.spec
    kinks, given = dict(spec.kinks), spec.required
    places = np.array([x for x, _ in spec.special] + [x for x in kinks if x not in dict(spec.special)])
    rows = [
        (_number(x), _number(y), _number(d) + (" (there is none: by convention)" if x in kinks else ""))
        for x, y, d in zip(places, function(places, **given), function.derivative(places, **given), strict=True)
    ]
    table = markdown_table(("x", "value", "derivative"), rows, left=3)
    at = ", ".join(f"`{name}={value:g}`" for name, value in spec.parameters.items())
    return [table, f"At {at}."] if at else [table]


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "−")  # noqa: RUF001


def _accuracy(stages: Iterable[Stage]) -> list[str]:
    rows = []
    for stage in stages:
        taken = f"all {stage.rows[0].tally.points:,}" if stage.exhaustive else f"{stage.rows[0].tally.points:,}"
        for row in stage.rows:
            if row.source == OURS:
                where = row.tally.at if row.tally.worst_ulp else ""
                worst = report.ulps(row.tally.worst_ulp)
                rows.append((stage.dtype, row.operation, worst, where, f"{row.bound:g}", taken))
    if not rows:
        return ["Not in the kept verification yet; the bounds are below, and the tests hold them."]
    header = ("dtype", "result", "worst error", "at x", "bound", "inputs")
    return [
        "In units in the last place; 0.5 is correctly rounded. [How it was measured](../accuracy.md)",
        markdown_table(header, rows, left=2),
    ]


def _errors(name: str, spec: Specification, kept: Kept) -> list[str]:
    found = kept.errors.get(name)
    if found is None:
        return []
    drawn = error_chart(name, found, float(max(spec.ulp.float32, spec.ulp.float32_derivative)))
    pieces = f"The largest error in each of {len(found['value'])} pieces of the range of float32"
    said = f"{pieces}, from a sample. The straight line is the bound."
    return [f"<figure>{drawn}<figcaption>{said}</figcaption></figure>"]


def _speed(name: str, kept: Kept) -> list[str]:
    run = kept.run(name)
    if run is None:
        word = f"; `rectifier bench {name}` measures it" if name in MEASURED else ""
        return [f"Not in the kept runs{word}. [What was measured](../speed.md)"]
    charts = [speed_chart(run, name, operation) for operation in ("value", "backward")]
    figures = [
        f"<figure>{drawn}<figcaption>{what}</figcaption></figure>"
        for drawn, what in zip(charts, ("The value", "Backward"), strict=True)
        if drawn
    ]
    return [*figures, speed_section(run), "[More about speed](../speed.md)."]


def eval_rst(text: str) -> str:
    """Put reStructuredText into a page of Markdown."""
    return f"````{{eval-rst}}\n{text}\n````"


def calls(name: str, function: Any, rst: Callable[[str], str]) -> str:
    """Write the entries of a function and of its methods."""
    found = {name: function}
    for method in methods_of(function):
        found[f"{name}.{method}"] = call = getattr(function, method)
        # Of a call that is a function of its own, such as that of a packed array.
        found |= {f"{name}.{method}.{key}": getattr(call, key) for key in METHODS if key in vars(call)}
    return "\n\n".join([".. py:currentmodule:: rectifier", *(entry(key, call, rst) for key, call in found.items())])


def methods_of(function: Any) -> list[str]:
    """Return the names of a function's calls, those of the guide first."""
    known = [method for method in METHODS if callable(getattr(function, method, None))]
    others = [key for key, value in vars(function).items() if callable(value) and not key.startswith("_")]
    return known + [key for key in others if key not in (*known, *_OF_DEFINITIONS)]


def entry(name: str, call: Any, rst: Callable[[str], str], indent: str = "   ") -> str:
    """Write the entry of a call: its signature and its docstring."""
    try:
        signature = str(inspect.signature(call)) if callable(call) else ""
    except (TypeError, ValueError):
        signature = "(...)"
    text = _FORMULA.sub("", inspect.getdoc(call) or "")
    body = "\n".join(f"{indent}{line}" if line.strip() else "" for line in rst(text).splitlines())
    return f".. py:function:: {name}{signature}\n\n{body}\n"


def others() -> str:
    """Write the page of public names that are no functions of the catalogue."""
    import rectifier

    names = [name for name in vars(rectifier)["__all__"] if name not in functions()]
    entries = [_directive(name, getattr(rectifier, name)) for name in sorted(names, key=str.lower)]
    entries += [".. automodule:: rectifier.testing\n   :members:", ".. automodule:: rectifier.crysx\n   :members:"]
    return f"# Masks, settings, and functions of your own\n\n{eval_rst(_paragraphs(entries))}\n"


def _paragraphs(parts: Iterable[str]) -> str:
    return "\n\n".join(parts)


def _directive(name: str, value: Any) -> str:
    if inspect.ismodule(value):
        return f".. automodule:: rectifier.{name}\n   :members:"
    if inspect.isclass(value):
        return f".. autoclass:: rectifier.{name}\n   :members:"
    if inspect.isroutine(value):
        return f".. autofunction:: rectifier.{name}"
    text = inspect.getdoc(type(value)) or ""  # an object: the docstring of its class says what it holds
    return f".. autoclass:: {type(value).__module__}.{type(value).__qualname__}\n   :members:" if text else ""
