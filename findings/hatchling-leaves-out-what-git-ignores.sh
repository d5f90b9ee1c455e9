#!/usr/bin/env bash
# hatchling 1.33.0: a package is silently not in the wheel if its folder has the name of something that `.gitignore` ignores anywhere.
#
# `site/`, for built documentation at the top, matches `src/thing/site/` too. The sources work, an editable install works, tests pass;
# the wheel and the source distribution have no `thing/site`, and the build says nothing. That hatchling reads
# `.gitignore` is documented; that a package is left out of a release without a word is what one meets. `/site/` was meant.
#
# Seen: hatchling 1.33.0: with `site/` [thing/__init__.py], with `/site/` [thing/__init__.py, thing/site/__init__.py]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'hatchling==1.33.0' 2> /dev/null
mkdir -p "$folder/project/src/thing/site"
cd "$folder/project"
touch src/thing/__init__.py src/thing/site/__init__.py
cat > pyproject.toml <<'TOML'
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "thing"
version = "1"
TOML
git init --quiet
in_wheel() {
    echo "$1" > .gitignore
    "$folder/venv/bin/python" -m hatchling build -t wheel > "$folder/log" 2>&1
    if grep -qi warn "$folder/log"; then echo "the behaviour has changed: it warns" >&2; exit 1; fi
    "$folder/venv/bin/python" -c 'import sys, zipfile; print(*sorted(n for n in zipfile.ZipFile(sys.argv[1]).namelist() if n.startswith("thing/")))' dist/*.whl
}
anywhere=$(in_wheel "site/")
at_the_top=$(in_wheel "/site/")
echo "hatchling $("$folder/venv/bin/python" -c 'from importlib.metadata import version; print(version("hatchling"))'): with site/ [$anywhere], with /site/ [$at_the_top]"
if [ "$anywhere" != "thing/__init__.py" ] || [ "$at_the_top" != "thing/__init__.py thing/site/__init__.py" ]; then
    echo "the behaviour has changed" >&2
    exit 1
fi
