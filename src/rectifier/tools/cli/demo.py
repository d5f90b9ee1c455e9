"""The command ``rectifier demo``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..extras import lacking
from ..progress import bars
from .options import AsJson
from .terminal import refuse, require, require_writable, show, table

if TYPE_CHECKING:
    from ..demo import Demo


def demo(
    output: Annotated[Path, typer.Option(help="Directory for the pictures.")] = Path("rectifier-demo"),
    json: AsJson = False,
    quick: Annotated[bool, typer.Option(hidden=True, help="Do next to nothing, to see that it runs.")] = False,
) -> None:
    """Train a network on handwritten digits, then time ReLU against the recipe in NumPy and Numba."""
    require("rectifier demo", lacking("it", "demo"))
    from .. import demo

    size: dict[str, Any] = {"epochs": 1, "shapes": ((4, 4),), "seconds_per_row": 0.0} if quick else {}
    try:
        require_writable(output)
        with bars() as start:
            result = demo.run(output, start=start, **size)
    except OSError as error:
        refuse("demo", error, output)
    show(result, _render, json)


def _render(result: "Demo") -> list[Any]:
    from ..demo import HEADER, TITLE, notes, ours_is_slower, rows

    training, colors = result.training, {None: "", True: "red", False: "green"}
    return [
        f"Trained {' - '.join(map(str, training.widths))} units on {training.training_samples:,} handwritten digits, "
        f"{training.epochs} epochs.",
        f"Test accuracy: {training.test_accuracy:.1%} of {training.test_samples} digits not trained on.",
        f"Kept for the backward pass of each step: masks of {training.mask_bytes_per_step:,} bytes; "
        f"keeping x would take {training.x_bytes_per_step:,}.",
        f"Dead units (off for every training sample): {training.dead_units} of {training.hidden_units}.",
        "",
        table(TITLE, HEADER, rows(result.timings), color=lambda cell: colors[ours_is_slower(cell)]),
        *notes(result.timings, result.machine),
        "",
        "Pictures:",
        *(f"  {path}" for path in result.pictures),
        f"{result.seconds:.0f} s in all.",
    ]
