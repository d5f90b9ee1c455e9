"""The command ``rectifier tune``."""

from typing import TYPE_CHECKING, Any

from ..progress import bars
from .options import AsJson
from .terminal import binary, refuse, show

if TYPE_CHECKING:
    from ..tune import Tuning


def tune(json: AsJson = False) -> None:
    """Measure this machine for a minute, and keep in the store what large calls begin with; info shows it."""
    from ..tune import tune

    try:
        with bars(transient=True) as start:
            found = tune(start)
    except (RuntimeError, ValueError) as error:
        refuse("tune", type(error)(str(error).removeprefix("tune: ")))
    show(found, _render, json)


def _render(found: "Tuning") -> list[Any]:
    from rich.table import Table

    points = Table("threads", "result", "operation", "through us", "past us", "ratio", box=None, pad_edge=False)
    for point in found.points:
        times = (f"{1e6 * point.through:,.0f}", f"{1e6 * point.past:,.0f}", f"{point.ratio:.2f}")
        points.add_row(str(point.threads), binary(point.nbytes), point.operation, *times)
    largest = max(point.nbytes for point in found.points)
    starts = ", ".join(
        f"{binary(size) if size <= largest else 'beyond ' + binary(largest)} with {threads}"
        for threads, size in found.stream_from.items()
    )
    together = [f"All threads do {found.gain:.2f} times what one does."] if found.gain else []
    return [
        points,
        "",
        f"Past the caches from: {starts} threads; calls go on learning from there.",
        f"Inputs are fetched {found.fetch_lines} lines ahead.",
        *together,
        f"Not kept, and so lost: {found.not_kept}." if found.not_kept else "Kept in the store.",
        f"{found.seconds:.0f} s in all.",
    ]
