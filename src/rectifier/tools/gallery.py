"""Pictures of all functions with their derivatives, and their page: ``python -m rectifier.tools.gallery docs``."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..catalogue import CATALOGUE
from ..functions.protocols import Activation
from .documents import write
from .pictures import BLUE, FAINT, ORANGE, STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RANGE, _POINTS = 5.0, 401  # 400 divides by all that parameters make kinks of


def draw(activation: Activation) -> Figure:
    """Draw a function and its derivative, which is interrupted at its kinks."""
    from matplotlib import style
    from matplotlib.figure import Figure

    spec = activation.spec
    x = np.linspace(-_RANGE, _RANGE, _POINTS)
    d = activation.derivative(x)
    d[np.isin(x, [at for at, _ in spec.kinks])] = np.nan
    with style.context(STYLE):
        figure = Figure(figsize=(4.6, 2.8))
        axes = figure.add_axes((0.08, 0.17, 0.9, 0.79))
        axes.axhline(0, color=FAINT, linewidth=0.8)
        axes.axvline(0, color=FAINT, linewidth=0.8)
        axes.plot(x, activation(x), color=BLUE, label=spec.name)
        axes.plot(x, d, color=ORANGE, linestyle="--", label="derivative")
        low, high = axes.get_ylim()
        axes.set(xlabel="x", xlim=(-_RANGE, _RANGE), ylim=(max(low, -_RANGE), min(high, _RANGE)))
        axes.legend(frameon=False)
    return figure


def page() -> str:
    """Write the page: each file of the catalogue, its functions, their formulas and where they come from."""
    parts = [
        "# The functions and their derivatives",
        "Drawn by `python -m rectifier.tools.gallery docs`, at default parameters.",
    ]
    heading = ""
    for activation in CATALOGUE.values():
        spec = activation.spec
        title = sys.modules[spec.value.__module__].__doc__ or ""
        if title != heading:
            parts.append(f"## {title.rstrip('.')}")
            heading = title
        text = "\n".join(line.strip() for line in (spec.value.__doc__ or "").splitlines())
        prose, _, references = text.partition("References\n----------\n")
        paragraphs = (" ".join(paragraph.split()) for paragraph in prose.strip().split("\n\n"))
        parts += [f"### {spec.name}", *paragraphs, f"![{spec.name} and its derivative](gallery/{spec.name}.svg)"]
        parts += [" ".join(references.split())] if references.strip() else []
    return "\n\n".join(parts) + "\n"


def write_all(directory: Path, names: Iterable[str] = CATALOGUE) -> list[Path]:
    """Write ``gallery.md`` and a picture of each function into a directory.

    Parameters
    ----------
    directory : Path
        Is made if it is not there.
    names : names of functions
        Whose pictures to draw.

    Returns
    -------
    list of Path
        What was written.
    """
    from matplotlib import style

    (directory / "gallery").mkdir(parents=True, exist_ok=True)
    written = []
    for name in names:
        data = io.BytesIO()
        with style.context(STYLE):
            draw(CATALOGUE[name]).savefig(data, format="svg", metadata={"Date": None})
        written.append(directory / "gallery" / f"{name}.svg")
        write(written[-1], data.getvalue())
    written.append(directory / "gallery.md")
    write(written[-1], page().encode())
    return written


if __name__ == "__main__":
    print(*write_all(Path(*sys.argv[1:2])), sep="\n")
