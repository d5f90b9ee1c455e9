"""Report the progress of a long computation, by bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

Advance = Callable[..., object]  # called with how many steps are done; with nothing after each
Start = Callable[[str, int], Advance]  # called with the name of a stage and its number of steps


def silent(stage: str, steps: int) -> Advance:
    """Start no bar."""
    return lambda done=1: None


@contextmanager
def bars(rates: bool = False, transient: bool = False) -> Iterator[Start]:
    """Yield what starts bars on stderr; `rates` adds steps per second, and `transient` bars vanish at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{float(f'{speed:.3g}'):,.0f}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        Rate(),
        TimeRemainingColumn(True, True),
    )
    with Progress(*columns if rates else (), console=Console(stderr=True), transient=transient) as progress:
        yield lambda stage, steps: partial(progress.advance, progress.add_task(stage, total=steps))
