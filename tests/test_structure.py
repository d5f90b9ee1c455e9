"""The shape of the source: which module imports which, how large each is, and what is written twice."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "rectifier"


def name_of(path: Path, package: Path) -> str:
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(package: Path) -> dict[str, Path]:
    found = {name_of(path, package): path for path in sorted(package.rglob("*.py"))}
    assert package.name in found
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """List the modules of the package that a module imports, at any depth of its code, also for types alone."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def absolute(module: str, level: int) -> str:
        ancestors = package.split(".")
        return ".".join([*ancestors[: len(ancestors) - level + 1], *filter(None, [module])]) if level else module

    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module=module, names=aliases, level=level):
                source = absolute(module or "", level)
                found |= {
                    f"{source}.{alias.name}" if f"{source}.{alias.name}" in known else source for alias in aliases
                }
            case ast.Import(names=aliases):
                found |= {alias.name for alias in aliases}
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                found.add(absolute(module.lstrip("."), len(module) - len(module.lstrip("."))))
    return found & set(known)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """List the sets of modules each of which leads to each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[-len(component) :]
            if len(component) > 1 or node in graph[node]:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def code_lines(text: str, *, data: bool = True) -> list[tuple[int, str]]:
    """List the lines of code and their numbers: without blank lines, comments and docstrings, at will without tables.

    A table is what a module binds a name to where that is a display of a list, a tuple, a set or a dictionary.
    """
    tree = ast.parse(text)
    left_out: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and body
            and ast.get_docstring(node) is not None
        ):
            left_out |= set(range(body[0].lineno, body[0].end_lineno + 1))
    if not data:
        for node in tree.body:
            value = getattr(node, "value", None)
            if isinstance(value, ast.List | ast.Tuple | ast.Set | ast.Dict | ast.Constant):
                left_out |= set(range(node.lineno, node.end_lineno + 1))
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: dict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in blank:
            for offset, part in enumerate(token.string.splitlines()):
                if part.strip():
                    lines[token.start[0] + offset].append(part.strip())
    return [(number, " ".join(lines[number])) for number in sorted(lines) if number not in left_out]


def clones(texts: dict[str, str], length: int) -> list[str]:
    """List the places where the same `length` lines of code begin that stand elsewhere, too, each longest run once."""
    lines = {name: code_lines(text, data=False) for name, text in texts.items()}
    places = defaultdict(list)
    for name, code in lines.items():
        for k in range(len(code) - length + 1):
            places[tuple(line for _, line in code[k : k + length])].append((name, k))
    pairs = {
        (first, second)
        for same in places.values()
        for i, first in enumerate(same)
        for second in same[i + 1 :]
        if first[0] != second[0] or second[1] - first[1] >= length
    }
    starts = [
        (a, b) for a, b in sorted(pairs) if ((a[0], a[1] - 1), (b[0], b[1] - 1)) not in pairs
    ]  # of runs that are longer than `length`
    return [" = ".join(f"{name}:{lines[name][k][0]}" for name, k in pair) for pair in starts]


def written(tmp_path: Path, **files: str) -> Path:
    package = tmp_path / "package"
    for name, text in files.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


@pytest.mark.parametrize(
    "arrow",
    [
        "from package import a",
        "def f():\n    from . import a",
        "def f():\n    from .a import g as h",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import package.a",
        "class C:\n    def f(self):\n        import_module('.a', __package__)",
        "import importlib\nimportlib.import_module('package.a')",
    ],
)
def test_a_circle_is_seen_at_any_depth(tmp_path, arrow):
    package = written(tmp_path, __init__="", a="from . import b", b="from .c import x", c=arrow)
    known = modules(package)
    graph = {name: imports(name, path, known) for name, path in known.items()}
    assert circles(graph) == [["package.a", "package.b", "package.c"]]
    assert circles({**graph, "package.b": set()}) == []


def test_ten_lines_twice_are_seen_and_nine_or_a_table_are_not():
    lines = [f"call({k}, other[{k}])" for k in range(10)]
    code = "\n".join(lines)
    spread = '"""Module."""\n\n' + "\n\n  # reason\n".join(["if x:", *(f"    {line}" for line in lines)])
    assert clones({"a": code, "b": spread}, 10) == ["a:1 = b:6"]
    assert clones({"a": f"{code}\nelse_ = 1\n{code}"}, 10) == ["a:1 = a:12"]
    assert clones({"a": code, "b": spread.replace("other[3]", "others[3]")}, 10) == []
    table = "TABLE = {\n" + "\n".join(f"    {k}: {k}," for k in range(12)) + "\n}"
    assert clones({"a": table, "b": table}, 10) == []
    assert clones({"a": "f(" + table[8:] + ")", "b": "f(" + table[8:] + ")"}, 10) == ["a:1 = b:1"]


def test_no_modules_import_one_another_in_a_circle():
    known = modules(PACKAGE)
    graph = {name: imports(name, path, known) for name, path in known.items()}
    assert sum(map(len, graph.values())) > 100
    arrows = [
        f"{name} -> {other}"
        for component in circles(graph)
        for name in component
        for other in graph[name] & set(component)
    ]
    assert not arrows, "\n".join(sorted(arrows))


def test_the_package_has_few_entries_at_its_top():
    entries = sorted(path.name for path in PACKAGE.iterdir() if not path.name.startswith((".", "__pycache__")))
    assert "__init__.py" in entries
    assert len(entries) <= 15, entries


def test_no_module_is_long():
    sizes = {name: len(path.read_text().splitlines()) for name, path in modules(PACKAGE).items()}
    assert max(sizes.values()) > 100
    assert not {name: size for name, size in sizes.items() if size > 500}


def test_no_init_is_a_whole_module():
    inits = {name: path for name, path in modules(PACKAGE).items() if path.name == "__init__.py"}
    assert len(inits) > 5
    sizes = {name: len(code_lines(path.read_text())) for name, path in inits.items()}
    assert not {name: size for name, size in sizes.items() if size > 60}


def test_no_ten_lines_stand_twice():
    found = clones({name: path.read_text() for name, path in modules(PACKAGE).items()}, 10)
    assert not found, "\n".join(found)


def test_docstrings_begin_as_readers_expect():
    """PEP 257 and numpydoc: Return, Compute, Check; neither Give nor Say, and no function is a What."""
    found, wrong = 0, []
    for name, path in modules(PACKAGE).items():
        if ".tools.cli." in name:  # the help of a command
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
                found += 1
                if text.split()[0] in ("Give", "Say", "Be", "Tell", "What", "See", "Does", "Gives", "Returns"):
                    wrong.append(f"{name}.{node.name}: {text.splitlines()[0]}")
    assert found > 800
    assert not wrong, "\n".join(wrong)
