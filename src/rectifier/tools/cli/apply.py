"""The command ``rectifier apply``."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..progress import Advance, bars, silent
from .options import AsJson, with_parameters
from .terminal import refuse, require_known, say, show

if TYPE_CHECKING:
    from ..apply import Outcome, Watch


@with_parameters
def apply(
    function: Annotated[str, typer.Argument(help="Name of the catalogue, such as relu.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="The array x: .npy, .npz, .h5, .hdf5 or .zarr.")],
    target: Annotated[Path | None, typer.Argument(metavar="OUTPUT", help="Its suffix says the format.")] = None,
    derivative: Annotated[bool, typer.Option("--derivative", help="The derivative instead of the value.")] = False,
    backward: Annotated[Path | None, typer.Option(metavar="UPSTREAM", help="The array dy, for dx.")] = None,
    gate: Annotated[Path | None, typer.Option(help="The second array of glu and its like.")] = None,
    axis: Annotated[int, typer.Option(help="Of softmax and its like.")] = -1,
    dataset: Annotated[str | None, typer.Option(help="Which array of a file that has several.")] = None,
    chunks: Annotated[str | None, typer.Option(help="Of the output, such as 1000,64; else as in the input.")] = None,
    memory: Annotated[str, typer.Option(help="What may be resident, such as 256MiB.")] = "256MiB",
    in_place: Annotated[bool, typer.Option("--in-place", help="Change INPUT; a crash leaves it half done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Count the active units in the same pass.")] = False,
    columns: Annotated[bool, typer.Option("--columns", help="The same for each column, the last axis.")] = False,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask cluster; takes Zarr.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of .npy and .npz elements stored as void: np.save writes bfloat16 so.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Take packed numbers, and those that mean missing, as they are.")
    ] = False,
    json: AsJson = False,
    **parameters: float | None,
) -> None:
    """Apply a function to an array in a file; 2 if that cannot be: no output is left; 1 if stdout fails."""
    from ...catalogue import ALL
    from ...engine.limits import bytes_of
    from .. import apply

    begun = False
    try:
        require_known("function", [function], ALL)
        if (target is None) != in_place:
            raise ValueError(
                "--in-place changes INPUT, and takes no OUTPUT" if in_place else "name an OUTPUT, or say --in-place"
            )
        job = apply.Job(
            function,
            source,
            target,
            derivative=derivative,
            upstream=backward,
            gate=gate,
            parameters={name: value for name, value in parameters.items() if value is not None},
            axis=axis,
            dataset=dataset,
            chunks=None if chunks is None else tuple(map(_whole_number, chunks.split(","))),
            memory=bytes_of("--memory", memory),
            force=force,
            stats=stats or columns,
            columns=columns,
            scheduler=scheduler,
            dtype=dtype,
            raw=raw,
        )
        with bars(rates=True, transient=True) if sys.stderr and sys.stderr.isatty() else nullcontext(silent) as start:

            def begin(stage: str, nbytes: int) -> Advance:
                nonlocal begun
                begun = True
                if in_place:
                    what = "changed in place; if this is interrupted, a part of it is done and nothing tells which"
                    say(f"{source}: {what}")
                return start(stage, nbytes)

            def left(watch: "Watch") -> str:
                if in_place:
                    return f"{source} is changed in part" if begun else f"{source} is unchanged"
                return f"{target} is whole" if watch.whole else "no output was left"

            outcome = apply.watched(lambda watch: apply.run(job, begin, watch), job.memory, "rectifier apply", left)
    except apply.StoppedError as error:
        state = f"{source} is {'changed in part' if begun else 'unchanged'}" if in_place else "no output was left"
        say(f"rectifier apply: stopped by {error}; {state}")
        raise SystemExit(128 + error.number) from None
    except MemoryError:
        refuse("apply", ValueError(f"{source}: the system has no more memory; less of --memory makes smaller pieces"))
    except (OSError, ValueError) as error:
        refuse("apply", error, target or source)
    for note in outcome.notes:
        say(f"rectifier apply: {source}: {note}")
    show(outcome, _render, json, f"; {outcome.output} is whole")


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--chunks takes whole numbers with commas between, and not {text!r}") from None


def _render(outcome: "Outcome") -> list[Any]:
    rate = (outcome.bytes_read + outcome.bytes_written) / max(outcome.seconds, 1e-9) / 1e9
    lines = [
        f"{outcome.output}: {' x '.join(map(str, outcome.shape)) or 'one number'} of {outcome.dtype} "
        f"in {outcome.seconds:.3g} s, {rate:.3g} GB/s read and written"
    ]
    if outcome.active_fraction is not None:
        lines.append(f"Active: {outcome.active_fraction:.4%} ({outcome.active:,})")
    if outcome.active_fraction_by_column is not None:
        fractions = outcome.active_fraction_by_column
        dead = sum(fraction == 0 for fraction in fractions)
        lines.append(f"By column: {dead} of {len(fractions)} never active")
        lines += [f"{column}\t{fraction:.4%}" for column, fraction in enumerate(fractions)]
    return lines
