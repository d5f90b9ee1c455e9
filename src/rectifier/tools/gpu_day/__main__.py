"""The command itself."""

from ..cli.application import leave_on_interrupt
from ..cli.terminal import require
from ..extras import PACKAGES, lacking


def main() -> None:
    """Run the command, if what it needs is installed."""
    require("rectifier gpu_day", lacking("it", "verify", [*PACKAGES["cli"], *PACKAGES["verify"]]))
    leave_on_interrupt()
    import typer

    from ..cli.gpu_day import gpu_day

    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.command()(gpu_day)
    application(prog_name="python -m rectifier.tools.gpu_day")


if __name__ == "__main__":
    main()
