"""The style of pictures, and how one is written."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .documents import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Opaque white, dark ink: a picture must read the same in a dark viewer. These are told apart by colour-blind
# readers too (Okabe and Ito 2008).
INK, FAINT, BLUE, ORANGE = "#1a1a1a", "#c8c8c8", "#0072b2", "#d55e00"
STYLE: list[Any] = [
    "default",
    {
        "svg.hashsalt": "rectifier",  # else the identifiers in an SVG differ from run to run
        "font.size": 11,
        "text.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "savefig.facecolor": "white",
    },
]


def save_figure(figure: Figure, stem: Path, description: str | None = None) -> Iterator[Path]:
    """Write a figure as SVG and PNG, each whole or not at all."""
    from matplotlib import style

    about = {"Description": description} if description else {}
    for kind, metadata in (("svg", {"Date": None}), ("png", {})):
        path, data = stem.with_name(f"{stem.name}.{kind}"), io.BytesIO()
        with style.context(STYLE):
            figure.savefig(data, format=kind, dpi=150, metadata=metadata | about)
        write(path, data.getvalue())
        yield path
