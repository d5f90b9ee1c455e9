#!/usr/bin/env bash
# Typer 0.29.2 with Click 8.5.1 beside it: what `typer.main.get_command` returns is no `click.Command`.
#
# Typer's documentation gives `get_command` for the use of an application with Click and its tools: a group of Click takes such a command
# in, documentation is made of its parameters. Typer now carries a copy of Click of its own, whose classes these are. `isinstance` is false
# without a word, so code that walks over `click.Option` finds none.
#
# Seen: typer 0.29.2, click 8.5.1: a click.Command: False; options [name], by isinstance: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'typer==0.29.2' 'click==8.5.1' 2> /dev/null
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import click
import typer
from typer.main import get_command

application = typer.Typer(add_completion=False)


@application.command()
def greet(name: str = "you"):
    pass


command = get_command(application)
options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
named = [parameter.name for parameter in command.params]
print("typer", version("typer"), "click", version("click"))
print(f"a click.Command: {isinstance(command, click.Command)}; options {named}, by isinstance: {len(options)}")
assert named == ["name"] and not options and not isinstance(command, click.Command), "the behaviour has changed"
PYTHON
