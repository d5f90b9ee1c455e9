"""The command line as a whole: its commands, its version, and how Ctrl-C ends it."""

import os
import signal
import sys
from typing import TYPE_CHECKING

from ..extras import PACKAGES, lacking
from .terminal import require

if TYPE_CHECKING:
    import typer

COMMANDS = ("apply", "bench", "demo", "verify")  # that have an extra of their name

FIRST = """\
Try first:
  rectifier info                      what computes here, and on what
  rectifier demo                      train a small network, and time the usual recipes beside these functions
  rectifier apply relu x.npy y.npy    a function over an array in a file"""


def main() -> None:
    """Run the command line, if what it needs is installed; a command looks itself for what else it needs."""
    extra = next((name for name in sys.argv[1:2] if name in COMMANDS), "cli")
    require("rectifier", lacking("the command line", extra, PACKAGES["cli"]))
    leave_on_interrupt()
    application()()


def leave_on_interrupt() -> None:
    """Let Ctrl-C end this process with 130 and no word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a parent wants it ignored
        signal.signal(signal.SIGINT, _stop)


def _stop(*_: object) -> None:
    """Leave at once, not by an exception: where Ctrl-C strikes in a callback of the compiler, Python drops that."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # a progress bar hides the cursor
    os._exit(130)


def application() -> "typer.Typer":
    """Make the command line of its commands."""
    import typer

    from . import apply, bench, demo, info, tune, verify
    from .options import Version

    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @made.callback(invoke_without_command=True)
    def rectifier(context: typer.Context, version: Version = False) -> None:
        """ReLU and its family for arrays: see it at work, and on what it runs."""
        if version:
            from ... import __version__

            print(f"rectifier {__version__}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            print(context.get_help())
            print(FIRST)

    for command in (demo.demo, bench.bench, verify.verify, apply.apply, info.info, tune.tune):
        made.command()(command)
    return made
