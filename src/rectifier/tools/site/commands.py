"""The page of the command line, made of its commands."""

from __future__ import annotations

from typing import Any

from ..documents import markdown_table


def page() -> str:
    """Write what each command takes."""
    from typer.main import get_command

    from ..cli.application import application

    group: Any = get_command(application())
    parts = [
        "# Commands",
        "`pip install 'rectifier[cli]'` brings the command; each command says which extra it needs besides. "
        "`python -m rectifier` is the same.",
    ]
    for name, command in group.commands.items():
        pieces = " ".join(command.collect_usage_pieces(command.context_class(command)))
        parts += [f"## rectifier {name}", command.help, f"```text\nrectifier {name} {pieces}\n```"]
        rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
        parts.append(markdown_table(("", "what it does"), rows, left=2))
    return "\n\n".join(parts) + "\n"


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _row(parameter: Any) -> tuple[str, str]:
    names = [parameter.name.upper()] if _is_argument(parameter) else [*parameter.opts, *parameter.secondary_opts]
    shown = ", ".join(f"`{name}`" for name in names)
    default = parameter.default
    text = (parameter.help or "").replace("|", r"\|")
    if default not in (None, False, True, ()) and not callable(default):
        text += f" By default `{default}`."
    return shown, text
