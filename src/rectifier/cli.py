"""The command ``rectifier``."""

import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    import typer

    from .demo import Demo
    from .machine import Machine

_EXTRA = ("matplotlib", "rich", "sklearn", "typer")


def main() -> None:
    """Run the command line, if what it needs is installed."""
    if any(importlib.util.find_spec(name) is None for name in _EXTRA):
        print("rectifier: the command line needs more packages: pip install 'rectifier[demo]'", file=sys.stderr)
        raise SystemExit(2)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a parent wants it ignored
        signal.signal(signal.SIGINT, _stop)
    _app()()


def _stop(*_: object) -> None:
    """Leave at once, not by an exception: where Ctrl-C strikes in a callback of the compiler, Python drops that."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # a progress bar hides the cursor
    os._exit(130)


def _app() -> "typer.Typer":
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    as_json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout, and nothing else.")]

    @app.callback(invoke_without_command=True)
    def rectifier(
        context: typer.Context,
        version: Annotated[bool, typer.Option("--version", help="Write the version, and stop.")] = False,
    ) -> None:
        """ReLU and its family for arrays: see it at work, and on what it runs."""
        if version:
            from . import __version__

            print(f"rectifier {__version__}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            print(context.get_help())

    @app.command()
    def demo(
        output: Annotated[Path, typer.Option(help="Directory for the pictures.")] = Path("rectifier-demo"),
        json: as_json = False,
        quick: Annotated[bool, typer.Option(hidden=True, help="Do next to nothing, to see that it runs.")] = False,
    ) -> None:
        """Train a network on handwritten digits, then time ReLU against the recipe in NumPy and Numba."""
        _demo(output, json, quick)

    @app.command()
    def info(json: as_json = False) -> None:
        """Say what decides the speed here: versions, processor, caches, threads, engine."""
        _info(json)

    return app


def _demo(output: Path, as_json: bool, quick: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from . import demo

    size: dict[str, Any] = {"epochs": 1, "shapes": ((4, 4),), "seconds_per_row": 0.0} if quick else {}
    try:
        demo.require_writable(output)
        with Progress(console=Console(stderr=True)) as progress:

            def start(stage: str, steps: int) -> Callable[[], object]:
                return partial(progress.advance, progress.add_task(stage, total=steps))

            result = demo.run(output, start=start, **size)
    except OSError as error:
        print(f"rectifier demo: {error.filename or output}: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
    _show(result, _render_demo, as_json)


def _info(as_json: bool) -> None:
    from .machine import describe

    _show(describe(), _render_info, as_json)


def _show(result: Any, render: Callable[[Any], list[Any]], as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        print(json.dumps(asdict(result), indent=2))
    else:
        console = Console(highlight=False, markup=False, emoji=False)  # a path or a processor's name is no markup
        for part in render(result):
            console.print(part, soft_wrap=isinstance(part, str))


def _render_demo(result: "Demo") -> list[Any]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from .demo import HEADER, notes, ours_is_slower, rows

    training = result.training
    table = Table(
        title="ReLU: the recipe's time against ours", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column, name in enumerate(HEADER):
        table.add_column(name, justify="right" if column else "left", no_wrap=True)
    body = rows(result.timings)
    colors = {None: "", True: "red", False: "green"}
    for row, below in zip(body, [*body[1:], None], strict=True):
        cells = (Text(cell, colors[ours_is_slower(cell)]) for cell in row)
        table.add_row(*cells, end_section=below is None or below[0] != row[0])
    return [
        f"Trained {' - '.join(map(str, training.widths))} units on {training.training_samples:,} handwritten digits, "
        f"{training.epochs} epochs.",
        f"Test accuracy: {training.test_accuracy:.1%} of {training.test_samples} digits not trained on.",
        f"Kept for the backward pass of each step: masks of {training.mask_bytes_per_step:,} bytes; "
        f"keeping x would take {training.x_bytes_per_step:,}.",
        f"Dead units (off for every training sample): {training.dead_units} of {training.hidden_units}.",
        "",
        table,
        *notes(result.timings, result.machine),
        "",
        "Pictures:",
        *(f"  {path}" for path in result.pictures),
        f"{result.seconds:.0f} s in all.",
    ]


def _render_info(machine: "Machine") -> list[Any]:
    from rich.table import Table

    threads = machine.threads
    quota = "none" if threads.quota_processors is None else f"{threads.quota_processors:g}"
    facts = {
        "versions": ", ".join(f"{name} {version or 'not installed'}" for name, version in machine.versions.items()),
        "system": machine.system,
        "processor": f"{machine.processor} ({machine.microarchitecture})",
        "SIMD": machine.simd,
        "caches": ", ".join(f"{name} {_binary(size)}" for name, size in machine.cache_bytes.items()),
        "memory": machine.memory_bytes and _binary(machine.memory_bytes),
        "transparent huge pages": machine.transparent_huge_pages,
        "threads": f"{threads.used} used by this version; {threads.allowed} allowed, the smallest of: logical "
        f"processors {threads.logical_processors}, affinity {threads.affinity_processors or 'unknown'}, quota {quota}",
        "engine": f"{machine.engine} ({machine.engine_reason})",
        "GPU": ", ".join(machine.gpu.devices) or f"none ({machine.gpu.reason})",
    }
    table = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        table.add_row(name, fact or "unknown")
    return [table]


def _binary(size: int) -> str:
    """Write a number of bytes in the largest unit that leaves at least 1."""
    units = {2**30: "GiB", 2**20: "MiB", 2**10: "KiB", 1: "bytes"}
    unit = next(unit for unit in units if size >= unit)
    return f"{size / unit:.3g} {units[unit]}"
