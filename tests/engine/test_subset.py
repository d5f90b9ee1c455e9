"""What the translator takes means what it means in Python; all else it refuses, with file and line."""

from __future__ import annotations

import ctypes
import importlib.util
import random
import textwrap
from functools import cache

import pytest

from rectifier.engine import store
from rectifier.engine.compiler import optimise, structures, subset, target
from rectifier.engine.compiler.instructions import address, atomic_add, stack
from rectifier.engine.runtime.structure import Array, Structure, Structures, Words, words
from rectifier.engine.runtime.structure import structures as structures_

HEAD = """
from rectifier.engine.compiler.instructions import Number, address, call1, copy_memory, load, stack
from rectifier.engine.runtime.layout import Engine, Job, LoopDescriptor, Way
from rectifier.engine.runtime.structure import Words
NEGATIVE, WIDE, TEXT = -1, 1 << 64, "text"

def store32(x, y):
    return x

def other(x, y):
    return x

"""

REFUSED = {
    "while with else": "while x:\n    x = 0\nelse:\n    x = 1",
    "for with else": "for k in range(x):\n    y = 0\nelse:\n    y = 1",
    "for over a tuple": "for k in (1, 2):\n    y = 0",
    "a step that is no constant": "for k in range(0, x, y):\n    y = 0",
    "a step of 0": "for k in range(0, x, 0):\n    y = 0",
    "range of nothing": "for k in range():\n    y = 0",
    "range with a keyword": "for k in range(0, stop=x):\n    y = 0",
    "a field that counts": "for job.total in range(x):\n    y = 0",
    "a keyword": "other(x, y=y)",
    "too few arguments": "other(x)",
    "too many arguments": "other(x, y, 1)",
    "a starred argument": "other(*x)",
    "too few arguments of an instruction": "copy_memory(x, y)",
    "too many arguments of an instruction": "call1(x, y, 1)",
    "a keyword of an instruction": "load(x, k=y)",
    "min of one": "x = min(x)",
    "min of three": "x = min(x, y, 1)",
    "max with a keyword": "x = max(x, y, key=x)",
    "abs of two": "x = abs(x, y)",
    "an unknown function": "x = print(x)",
    "an unknown name": "x = unknown",
    "a text": "x = TEXT",
    "a number that is too wide": "x = WIDE",
    "a literal that is too wide": "x = 18446744073709551616",
    "a float": "x = 1.5",
    "None": "x = None",
    "a constant that does nothing": "...",
    "true division": "x = x / y",
    "a power": "x = x ** 2",
    "an augmented power": "x **= 2",
    "a matrix product": "x = x @ y",
    "division by a negative number": "x = x // -2",
    "division of a negative number": "x = NEGATIVE // x",
    "the rest by a negative number": "x %= -2",
    "is": "x = x is y",
    "in": "x = x in y",
    "a chain that reads memory": "x = 0 < x < job.total",
    "a chain that calls": "x = 0 < x < other(x, y)",
    "a plus sign": "x = +x",
    "several names": "x, y = y",
    "too few values": "x, y = 1, 2, 3",
    "nested names": "(x, y), z = 1, 2",
    "a starred name": "x, *y = 1, 2",
    "an annotated variable": "z: int = x",
    "a walrus": "x = (y := x)",
    "a lambda": "x = lambda: y",
    "a nested function": "def inner():\n    pass",
    "a conditional of texts": "x = 'a' if x else 'b'",
    "a tuple as a value": "return x, y",
    "a comprehension": "x = [k for k in range(3)]",
    "try": "try:\n    x = 1\nfinally:\n    y = 1",
    "with": "with x:\n    y = 1",
    "assert": "assert x",
    "raise": "raise ValueError",
    "pass": "pass",
    "del": "del x",
    "global": "global z",
    "import": "import os",
    "yield": "yield x",
    "stack of what is no constant": "x = stack(y)",
    "stack of nothing": "x = stack()",
    "a field of a number": "y = x.total",
    "an unknown field": "y = job.totl",
    "storing into an unknown field": "job.totl = 1",
    "an array as a value": "y = job.extents",
    "storing into an array": "job.extents = 1",
    "too few indices": "y = job.strides[0]",
    "too many indices": "y = job.extents[0, 0]",
    "an index of a field": "y = job.total[0]",
    "an index of a number": "y = x[0]",
    "an index of a structure": "y = job[0]",
    "a field among several targets": "x, job.total = 1, 2",
    "a field and a name": "x = job.total = 1",
    "adding in place with a call": "job.extents[other(x, y)] += 1",
    "the address of a variable": "y = address(x)",
    "a variable of two kinds": "z = job.plan\nz = job.trial",
    "a structure that becomes a number": "job = x",
    "a structure that is moved": "job += 8",
    "a function with the name of an access": "x = store32(x, y)",
    "a structure with a keyword": "z = Words(x=x)",
}
HEADERS = {
    "a default": "def function(job: Job, x=1, y=2):\n    return x",
    "any number of arguments": "def function(*x):\n    return 1",
    "any keywords": "def function(**x):\n    return 1",
    "a parameter by keyword alone": "def function(*, x):\n    return x",
    "a parameter by position alone": "def function(x, /):\n    return x",
    "a decorator": "def same(x):\n    return x\n@same\ndef function(x):\n    return x",
}


def module_of(tmp_path, source):
    path = tmp_path / "functions.py"
    path.write_text(source)
    specification = importlib.util.spec_from_file_location("functions", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return path, module


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_known_is_refused_where_it_stands(what, tmp_path):
    body = textwrap.indent(f"{REFUSED[what]}\nreturn x\n", "    ")
    source = f"{HEAD}def function(job: Job, x: int, y: int) -> int:\n{body}"
    path, module = module_of(tmp_path, source)
    first = HEAD.count("\n") + 2
    lines = range(first, first + REFUSED[what].count("\n") + 1)
    with pytest.raises(TypeError) as error:
        subset.optimised([module.function])
    text = str(error.value)
    assert text.startswith(tuple(f"{path}, line {line}: no translation of " for line in lines)), text


@pytest.mark.parametrize("what", HEADERS)
def test_a_function_with_other_than_plain_parameters_is_refused(what, tmp_path):
    path, module = module_of(tmp_path, f"{HEAD}{HEADERS[what]}\n")
    with pytest.raises(TypeError, match=rf"{path}, line \d+: no translation of "):
        subset.optimised([module.function])


class Part(Structure):
    first: int
    second: int


class Whole(Structure):
    number: int
    part: Part
    half: int = words(bits=32)
    far: int = words(at=8)
    row: Array = words(5)
    table: Array = words(3, 4)
    parts: Structures[Part] = structures_(Part, 3)
    last: int


def fields(whole: Whole, i: int, j: int, x: int) -> int:
    part, other = whole.part, whole.parts[i]
    whole.number = x
    part.second += whole.number * 2
    whole.half |= x & 0xFFFFFFFF
    whole.far = whole.half - x
    whole.row[i] -= x
    whole.row[i + 1] = whole.row[i] + i
    whole.table[i, j] = x
    whole.table[2, 3] += whole.table[i, j]
    other.first = whole.last
    whole.parts[0].second += other.first + 1
    whole.last = part.first ^ part.second
    return whole.row[i] + whole.table[i, j]


def made() -> tuple[Whole, Part]:
    part = Part.new(first=3, second=4)
    return Whole.new(part=part, row=(1, 2, 3, 4, 5), half=7, last=9), part


@cache
def compiled(function):
    module, names = subset.optimised([function])
    code = store._load(optimise.object_of(module, target.host()), {optimise.PREFIX + name for name in names})
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * function.__code__.co_argcount)
    return kind(code[function.__name__])


def contents(whole):
    return [Words(whole)[k] for k in range(Whole.WORDS) if k != Whole.fields["part"].word]


@pytest.mark.parametrize(("i", "j", "x"), [(0, 0, 5), (2, 3, -1), (1, 2, 1 << 40)])
def test_fields_are_the_same_in_python_and_compiled(i, j, x):
    (here, part), (there, other) = made(), made()
    assert fields(here, i, j, x) == compiled(fields)(there, i, j, x)
    assert contents(here) == contents(there)
    assert (part.first, part.second) == (other.first, other.second)


def test_fields_lie_one_behind_the_other_unless_they_say_where():
    places = {name: field.word for name, field in Whole.fields.items()}
    assert places == {"number": 0, "part": 1, "half": 2, "far": 8, "row": 9, "table": 14, "parts": 26, "last": 32}
    assert Whole.WORDS == 33
    with pytest.raises(TypeError, match="second lies within the field before it"):
        type("Overlapping", (Structure,), {"__annotations__": {"first": "int", "second": "int"}, "second": words(at=0)})


def test_an_unknown_field_and_a_whole_array_are_not_written_in_python():
    whole, _ = made()
    with pytest.raises(AttributeError, match="Whole has no field numbr"):
        whole.numbr = 1
    with pytest.raises(TypeError, match="row is an array"):
        whole.row = 1


def addresses(whole: Whole, i: int, j: int) -> int:
    atomic_add(address(whole.last), 1)
    atomic_add(address(whole.row[i]), 10)
    atomic_add(address(whole.table[i, j]), 100)
    row = Words(address(whole.row))
    row[0] += 1000
    here = stack(Whole)
    here.number = 5
    room = stack(3)
    room[2] = here.number
    return room[2]


def test_addresses_are_those_of_the_fields():
    whole, _ = made()
    assert compiled(addresses)(whole, 1, 2) == 5
    assert whole.last == 10
    assert [whole.row[k] for k in range(5)] == [1001, 12, 3, 4, 5]
    assert whole.table[1, 2] == 100


def arithmetic(a: int, b: int, n: int) -> int:
    total = 0
    for k in range(n, -n, -3):
        if k == 2:
            continue
        if k < -5:
            break
        total += (k << 2) ^ (a >> 3) | b & ~k
    while total > 1000 and not (a == b or n < 0):
        total -= max(abs(b), 7)
    low = min(a, b) if 0 <= n < 10 else -a
    return total * 31 + low + n // 3 + n % 5 + (a < b <= n)


def test_arithmetic_is_python_s():
    random_ = random.Random(0)
    for _ in range(300):
        a, b, n = random_.randrange(-10_000, 10_000), random_.randrange(-99, 99), random_.randrange(0, 30)
        assert compiled(arithmetic)(a, b, n) == arithmetic(a, b, n)


def test_the_table_of_the_grammar_names_what_is_translated():
    statements = {name.removeprefix("on_") for name in vars(subset._Translation) if name.startswith("on_")}
    assert statements == {"Expr", "Assign", "AugAssign", "Return", "Break", "Continue", "If", "While", "For"}
    assert {name for name in vars(structures._Lowering) if name.startswith("visit_")} == {
        "visit_FunctionDef", "visit_Attribute", "visit_Subscript", "visit_Call", "visit_Assign", "visit_AugAssign",
        "visit_AnnAssign",
    }  # fmt: skip
