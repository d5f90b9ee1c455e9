"""Options that several commands have, or that follow from the catalogue."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ...catalogue import CATALOGUE

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to stdout, and nothing else.")]
Version = Annotated[bool, typer.Option("--version", help="Write the version, and stop.")]


def with_parameters(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option to a command for each parameter of the catalogue's functions."""
    takers: dict[str, list[str]] = {}
    for name, function in CATALOGUE.items():
        for parameter in function.spec.parameters:
            takers.setdefault(parameter, []).append(name)
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    for parameter, names in takers.items():
        option = typer.Option(help=f"Of {', '.join(names)}.", show_default=False)
        annotation = Annotated[float | None, option]
        own.append(inspect.Parameter(parameter, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        command(**given)

    with_options.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
    return with_options
