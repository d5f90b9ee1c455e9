"""Machine code that a wheel brings: found by what it is, for processors that can run it, made of these very sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rectifier
from conftest import run_python
from rectifier import elementwise
from rectifier.engine import ahead, memory, process
from rectifier.engine.compiler.levels import LEVELS
from rectifier.engine.compiler.optimise import object_of
from rectifier.engine.compiler.target import Target, host, of_level
from rectifier.engine.loops import Loop
from rectifier.engine.rows import RowLoop
from rectifier.formulas import T, where
from rectifier.tools.ahead import codes

X86 = "x86_64-pc-linux-gnu"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(ahead, "FOLDER", tmp_path)
    ahead._objects.cache_clear()
    yield tmp_path
    ahead._objects.cache_clear()


def test_objects_are_found_by_what_they_are(folder):
    level = ahead.levels(host())[0]
    objects = {ahead.name_of(f"f{k}", b"own"): bytes([k]) * (k + 1) for k in range(100)}
    ahead.write(folder / level, objects)
    assert [ahead.read(f"f{k}", b"own") for k in range(100)] == [bytes([k]) * (k + 1) for k in range(100)]
    for name, own in (("f100", b"own"), ("f1", b"other"), ("", b"")):
        assert ahead.read(name, own) is None


def test_objects_of_other_sources_and_damaged_files_are_not_used(folder, monkeypatch):
    level = ahead.levels(host())[0]
    with monkeypatch.context() as patch:
        patch.setattr(ahead, "fingerprint", lambda: b"0" * 32)
        ahead.write(folder / level, {ahead.name_of("f", b""): b"code"})
    assert ahead.read("f", b"") is None
    for content in (b"", b"nonsense", ahead.MAGIC):
        (folder / level).write_bytes(content)
        ahead._objects.cache_clear()
        assert ahead.read("f", b"") is None


def test_without_a_folder_nothing_is_there(monkeypatch):
    monkeypatch.setattr(ahead, "FOLDER", Path("/nowhere"))
    ahead._objects.cache_clear()
    assert ahead.read("pool", b"") is None
    ahead._objects.cache_clear()


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (of_level(X86, "x86-64-v4").features, ["x86-64-v4", "x86-64-v3", "x86-64-v2", "x86-64"]),
        (of_level(X86, "x86-64-v3").features + ",-avx512f", ["x86-64-v3", "x86-64-v2", "x86-64"]),
        (of_level(X86, "x86-64-v3").features.replace("+fma", "-fma"), ["x86-64-v2", "x86-64"]),
        ("", []),
    ],
)
def test_the_richest_level_that_a_processor_can_run_comes_first(features, expected):
    assert ahead.levels(Target(X86, "", features)) == expected


def test_every_call_of_this_package_has_its_code_among_what_is_compiled_ahead():
    names = {(code.name, code.own) for code in codes()}
    assert len(names) > 700
    asked = [memory.pool_code(), process.code_of_entry("call"), process.code_of_entry("call_rows")]
    for function in (rectifier.relu, rectifier.swiglu):
        operations = function.spec.operations.values()
        asked += [Loop(function.spec, operation, np.dtype("f4")).code() for operation in operations]
    asked += [RowLoop(rectifier.softmax.spec, backward, np.dtype("f8")).code() for backward in (False, True)]
    assert len(asked) > 10
    assert {(code.name, code.own) for code in asked} <= names


@elementwise(exact=lambda m, x: m.where(x > 0, x, 0), special=(), ulp=0)
def mine(x):
    return where(x <= T(0), T(0), x)


@mine.derivative
def mine_derivative(x):
    return where(x <= T(0), T(0), T(1))


def test_code_of_a_users_function_is_none_that_a_wheel_brings():
    assert Loop(mine.spec, mine.spec.operations["value"], np.dtype("f4")).code().own is None


PROCESS = """
from pathlib import Path
from rectifier.engine import ahead, store
ahead.FOLDER = Path({folder!r})
def fail(*arguments):
    raise AssertionError("nothing is compiled")
store.object_of = fail
import numpy as np
from rectifier import relu, softmax
x = np.array([[-1.0, 2.0], [3.0, -4.0]], "f4")
assert relu(x).tolist() == [[0, 2], [3, 0]]
assert abs(softmax(x).sum() - 2) < 1e-6
print(relu.methods["value"].loops["float32"].compiled is not False)
"""


def test_a_process_that_has_the_objects_compiles_nothing_and_writes_nothing(tmp_path):
    wanted = {"pool", "call", "call_rows", "relu.value.float32", "softmax.False.float32"}
    level = next(level for level in ahead.levels(host()) if level != "x86-64")
    target = of_level(host().triple, level)
    chosen = [code for code in codes() if code.name in wanted]
    assert len(chosen) == len(wanted)
    objects = {ahead.name_of(code.name, code.own): object_of(code.build(target).module, target) for code in chosen}
    ahead.write(tmp_path / "objects" / level, objects)
    run = run_python(PROCESS.format(folder=str(tmp_path / "objects")), RECTIFIER_STORE=str(tmp_path / "store"))
    assert run.stdout == "True\n", run.stderr
    assert not (tmp_path / "store").exists()
    assert all(level in LEVELS[host().architecture] for level in ahead.levels(host()))
