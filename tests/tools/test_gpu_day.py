"""The day a GPU is at hand, without one: fakes and stand-ins for it, a clock that is set, and no timing asserted."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from conftest import BACKENDS, optional, run_python, write
from rectifier import testing
from rectifier.catalogue import ALL
from rectifier.tools.bench import recipe, runner, worker
from rectifier.tools.bench.baselines import BASELINES
from rectifier.tools.bench.case import Baseline, Case, ours
from rectifier.tools.bench.points import Point
from rectifier.tools.bench.results import Measurement, Run
from rectifier.tools.documents import put_section
from rectifier.tools.gpu_day import __main__ as main_module
from rectifier.tools.gpu_day import day, device, report, speed, suite, values
from rectifier.tools.gpu_day.budget import Budget
from rectifier.tools.verify.results import Row, Stage, Tally

ROOT = Path(__file__).parents[2]
CARD = device.Device("Card 0", "9.0", 132, 150_000_000_000, 50 << 20, "12.8", "12.9", "12.9", "14.2")


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stand_in(monkeypatch):
    if not optional("cupy"):
        pytest.skip("CuPy is not installed")
    import cupy_stand_in

    return cupy_stand_in.install(monkeypatch, BACKENDS["numpy"])


@pytest.fixture
def command(program, monkeypatch, tmp_path):
    """Run the program in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return program("gpu_day", main_module.main, 200)


def fake_cupy(monkeypatch, **runtime):
    """Put a CuPy in the way of import, whose runtime says such things of its device."""
    module = ModuleType("cupy")
    found = {"name": b"Card 0", "major": 9, "minor": 0, "multiProcessorCount": 132}
    found |= {"totalGlobalMem": CARD.memory_bytes, "l2CacheSize": CARD.cache_bytes}
    calls = {
        "getDeviceProperties": lambda number: found,
        "driverGetVersion": lambda: 12080,
        "runtimeGetVersion": lambda: 12090,
        **runtime,
    }
    nvrtc = SimpleNamespace(getVersion=lambda: (12, 9))
    module.cuda = SimpleNamespace(runtime=SimpleNamespace(**calls), nvrtc=nvrtc, Device=lambda: SimpleNamespace(id=0))
    module.__version__ = "14.2"
    monkeypatch.setitem(sys.modules, "cupy", module)


def no_driver(*_):
    raise RuntimeError("cudaErrorNoDevice:\nno CUDA-capable device is detected")


def parts(monkeypatch, clock, **seconds):
    """Put parts in the place of the real ones that take so many seconds each, or raise; return what each was given."""
    given = {}

    def part(name, takes):
        def run(budget, note, start):
            given[name] = budget.left
            if isinstance(takes, Exception):
                raise takes
            clock.now += takes

        return run, day.PARTS[name][1]

    monkeypatch.setattr(day, "PARTS", {name: part(name, takes) for name, takes in seconds.items()})
    return given


def measured(point, baseline, ours_ns, theirs_ns, copy_ns):
    times = ((tuple(float(k * ns) for k in (1, 1, 1)),) * 2 if ns else () for ns in (ours_ns, theirs_ns, copy_ns))
    return Measurement(baseline, point, "f(x)", point.dtype, *times)


def made_up() -> day.Day:
    """Make a day on which each kind of thing happened."""
    points = [
        Point("gelu", "value", "default", "hot", dtype, rows, rows, "gpu")
        for dtype in ("float32", "float16")
        for rows in (100, 5000)
    ]
    measurements = [measured(p, "cupy", 2000, 6000, 1500 if p.rows == 5000 else 0) for p in points]
    measurements.append(measured(points[0], "torch-cuda", 2000, 1000, 0))
    versions = {"cupy": "cupy 14.2", "torch-cuda": "torch 2.13"}
    machine = {"gpu": {"devices": ["Card 0"], "reason": "CuPy 14.2"}}
    skipped = ("CuPy kernel: no time left for pass 2 of 2",)
    run = Run("2026-01-01", 9.0, True, 1, None, "cupy.copyto", machine, versions, skipped, {}, tuple(measurements))
    tally = Tally(10, np.inf, "3.0", "nan", "1.0", 9, 9)
    return day.Day(
        started="2026-01-01T00:00:00+00:00",
        minutes=10.0,
        version="1.0",
        device=CARD,
        seconds={"suite": 3.0, "bench": 9.0},
        left_out=("tests: 3 of 9 have not run",),
        errors={"host": "RuntimeError: lost"},
        suite=suite.Suite(9, {"passed": 5, "failed": 1}, ("tests/a.py::test_b[x y]",)),
        host=speed.Host({"cupy.copyto": 4.1e12, "a kernel": 4.2e12}, (speed.Cost("relu value", "ours: f(x)", 4321.0),)),
        values=values.Values(
            (
                values.Bits("relu", "float16", "value", 65536, 0),
                values.Bits("gelu", "float16", "value", 65536, 7, 2.0, "0.5", "0.3457", "0.3459"),
                values.Bits("silu", "float32", "value", 100, 1, None, "2.0", "nan", "1.76"),
            ),
            (Stage("glu", "float32", False, "d", 1.0, 0.0, {}, (Row("value", "rectifier", 1.0, False, tally),)),),
            ("mish float64: RuntimeError: it does not compile",),
        ),
        bench=run,
    )


def test_a_share_is_a_fraction_of_what_is_left(clock):
    budget = Budget(600, clock)
    clock.now += 100
    share = budget.share(0.4)
    assert (budget.left, share.left) == (500, 200)
    clock.now += 250
    assert (budget.left, share.left) == (250, 0)


def test_each_part_has_its_share_of_what_is_left(monkeypatch, clock):
    given = parts(monkeypatch, clock, suite=240.0, host=6.0, values=354.0 - 200, bench=100.0)
    found = day.run(CARD, 10, clock=clock)
    shares = {name: share for name, (_, share) in day.PARTS.items()}
    left = {"suite": 600.0, "host": 360.0, "values": 354.0, "bench": 200.0}
    assert given == pytest.approx({name: shares[name] * seconds for name, seconds in left.items()})
    assert found.seconds == {"suite": 240.0, "host": 6.0, "values": 154.0, "bench": 100.0}
    assert found.left_out == ()


def test_a_part_for_which_no_time_is_left_is_said(monkeypatch, clock):
    given = parts(monkeypatch, clock, suite=700.0, values=1.0, bench=1.0)
    found = day.run(CARD, 10, clock=clock)
    assert list(given) == ["suite"]
    assert found.left_out == ("values: no time left", "bench: no time left")
    assert all(f"- {line}" in report.markdown(found) for line in found.left_out)


def test_a_part_that_fails_is_recorded_and_keeps_no_other_from_running(monkeypatch, clock):
    given = parts(monkeypatch, clock, suite=ValueError("one\ntwo"), host=1.0, values=MemoryError(), bench=1.0)
    kept = []
    found = day.run(CARD, 10, keep=kept.append, clock=clock)
    assert list(given) == ["suite", "host", "values", "bench"]
    assert found.errors == {"suite": "ValueError: one", "values": "MemoryError: "}
    assert not found.holds
    assert [list(one.seconds) for one in kept] == [list(given)[: k + 1] for k in range(4)]
    assert "suite ended by an error: ValueError: one" in report.markdown(found)


def test_a_day_without_a_fault_holds(monkeypatch, clock):
    parts(monkeypatch, clock, suite=1.0, host=1.0)
    assert day.run(CARD, 10, clock=clock).holds


@pytest.mark.parametrize(
    "fault",
    [
        {"errors": {"host": "lost"}},
        {"suite": suite.Suite(1, {"failed": 1}, ("a",))},
        {"values": values.Values(made_up().values.bits[1:2], ())},
        {"values": values.Values((), made_up().values.stages)},
        {"values": values.Values((), (), ("mish float64: lost",))},
    ],
    ids=["error", "test", "bits", "bound", "function"],
)
def test_any_fault_of_a_day_shows(fault):
    good = replace(made_up(), errors={}, suite=None, values=None)
    assert good.holds
    assert not replace(good, **fault).holds


@pytest.mark.parametrize("empty", [False, True])
def test_the_file_comes_back_as_it_was(tmp_path, empty):
    found = made_up()
    if empty:
        found = replace(found, suite=None, host=None, values=None, bench=None)
    day.save(found, tmp_path / "gpu-day.json")
    text = (tmp_path / "gpu-day.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert day.load(tmp_path / "gpu-day.json") == found
    assert [path.name for path in tmp_path.iterdir()] == ["gpu-day.json"]


def test_the_section_says_what_the_file_says():
    text = report.markdown(made_up())
    for words in (
        "Card 0, compute capability 9.0, 132 multiprocessors, 150 GB; driver for CUDA 12.8, runtime 12.9, NVRTC 12.9, "
        "CuPy 14.2",
        "5 passed, 1 failed, of 9.",
        "Failed: tests/a.py::test_b[x y]",
        "3 functions of one array, bit for bit beside the CPU's: 131,072 in float16, 100 in float32; 2 of 3",
        "Differs: gelu value float16, 7 of 65,536, by up to 2 ulp: at 0.5 the device has 0.3457, the CPU 0.3459",
        "silu value float32, 1 of 100, by up to inf ulp",
        "0 of 1 are within their bounds",
        "Broken: glu value float32: inf ulp at 3.0",
        "Not computed: mish float64: RuntimeError: it does not compile",
        "4,100 GB/s by cupy.copyto and 4,200 GB/s by a kernel",
        "host ended by an error: RuntimeError: lost",
        "| call | dtype | 100 x 100 | 5000 x 5000 | µs there | copy |",
        "| gelu value | float32 | **0.50x PyTorch CUDA** | 3.00x CuPy recipe | 2.00 | 75% |",
        "| gelu value | float16 | 3.00x CuPy recipe | 3.00x CuPy recipe | 2.00 | 75% |",
        "| relu value | ours: f(x) | 4,321 |",
        "- tests: 3 of 9 have not run",
        "- CuPy kernel: no time left for pass 2 of 2",
    ):
        assert words in text, words


def test_the_page_agrees_with_the_kept_file_and_without_one_says_that_nothing_has_run():
    kept = ROOT / "benchmarks" / "gpu-day.json"
    text = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    section = report.markdown(day.load(kept) if kept.exists() else None)
    assert put_section(text, section, report.BEGIN, report.END) == text
    assert kept.exists() or "none of this has run on one" in text


def test_a_kept_file_is_reported_and_written_into_a_page(command, tmp_path):
    day.save(made_up(), tmp_path / "gpu-day.json")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    code, out, err = command("--from", "gpu-day.json", "--readme", page)
    assert (code, err) == (1, "")
    for words in ("PyTorch CUDA", "3.00x", "4,321", "Not done: tests: 3 of 9", "12 s in all."):
        assert words in out
    assert page.read_text() == f"before\n{report.BEGIN}\n{report.markdown(made_up())}\n{report.END}\nafter\n"
    code, out, _ = command("--from", "gpu-day.json", "--json")
    assert json.loads(out)["device"]["name"] == "Card 0"


def test_a_run_says_on_what_and_writes_the_file(command, monkeypatch, tmp_path, clock):
    fake_cupy(monkeypatch)
    parts(monkeypatch, clock, suite=0.0)
    code, _, err = command("--minutes", "1", "--output", "found.json")
    assert (code, err.splitlines()[0]) == (0, str(CARD))
    assert day.load(tmp_path / "found.json").device == CARD
    assert day.load(tmp_path / "found.json").minutes == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "absent.json"), "absent.json: No such file"),
        (("--from", "other.json"), "other.json: not a file that python -m rectifier.tools.gpu_day wrote"),
        (("--from", "text"), "text: not a file that python -m rectifier.tools.gpu_day wrote"),
        (("--from", "part.json"), "part.json: not a file that python -m rectifier.tools.gpu_day wrote"),
        (("--from", "list.json"), "list.json: not a file that"),
        (("--from", "seconds.json"), "seconds.json: not a file that"),
        (("--from", "seconds.json", "--readme", "page.md"), "seconds.json: not a file that"),
        (("--from", "letters.json"), "letters.json: not a file that"),
        (("--from", "memory.json"), "memory.json: not a file that"),
        (("--from", "good.json", "--readme", "bytes.md"), "bytes.md: no text in UTF-8"),
        (("--from", "good.json", "--readme", "text"), "no <!-- gpu-day --> and <!-- /gpu-day --> on the page: write"),
        (("--from", "good.json", "--readme", "absent.md"), "absent.md: No such file"),
        (("--output", "."), "is a directory: name a file"),
        (("--output", "text/found.json"), "text: Not a directory"),
    ],
)
def test_bad_input_is_one_line_before_any_work(command, monkeypatch, tmp_path, arguments, words):
    fake_cupy(monkeypatch)
    monkeypatch.setattr(day, "run", lambda *_, **__: pytest.fail("worked first"))
    (tmp_path / "text").write_text("no markers")
    day.save(made_up(), tmp_path / "good.json")
    found = json.loads((tmp_path / "good.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps(found | {"schema": "rectifier-gpu-day/0"}))
    (tmp_path / "list.json").write_text("[" * 200_000)
    (tmp_path / "seconds.json").write_text(json.dumps(found | {"seconds": None}))
    (tmp_path / "letters.json").write_text(json.dumps(found | {"left_out": "abc"}))
    (tmp_path / "memory.json").write_text(json.dumps(found | {"device": found["device"] | {"memory_bytes": "much"}}))
    (tmp_path / "bytes.md").write_bytes(b"\xff")
    (tmp_path / "page.md").write_text(f"{report.BEGIN}\n{report.END}\n")
    del found["bench"]["measurements"]
    (tmp_path / "part.json").write_text(json.dumps(found))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    code, out, err = command(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything is permitted to root")
def test_a_folder_that_takes_no_files_is_one_line(command, monkeypatch, tmp_path):
    fake_cupy(monkeypatch)
    monkeypatch.setattr(day, "run", lambda *_, **__: pytest.fail("worked first"))
    (tmp_path / "closed").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    code, _, err = command("--output", "closed/found.json")
    assert (code, err.count("\n")) == (2, 1)
    assert "Permission denied" in err


def test_what_cannot_be_written_leaves_the_page_as_it_was(command, monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"{report.BEGIN}\nold\n{report.END}\n")
    day.save(made_up(), tmp_path / "gpu-day.json")

    def refuse(path, target):
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    code, _, err = command("--from", "gpu-day.json", "--readme", page)
    assert (code, err) == (2, f"rectifier gpu_day: {page}: Permission denied\n")
    assert page.read_text() == f"{report.BEGIN}\nold\n{report.END}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu-day.json", "page.md"]


def test_the_facts_of_a_device_are_those_that_cupy_gives(monkeypatch):
    fake_cupy(monkeypatch)
    assert device.describe() == CARD


@pytest.mark.parametrize("lost", ["getDeviceProperties", "driverGetVersion"])
def test_no_device_ends_with_2_and_one_line_that_says_what_to_check(command, monkeypatch, tmp_path, lost):
    fake_cupy(monkeypatch, **{lost: no_driver})
    code, out, err = command()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "reaches no GPU (cudaErrorNoDevice: no CUDA-capable device is detected): check that nvidia-smi" in err
    assert list(tmp_path.iterdir()) == []


def test_no_cupy_ends_with_2_and_one_line_that_says_what_to_install(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    code, out, err = command()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "pip install cupy-cuda12x, or cupy-cuda13x" in err


def test_what_the_program_itself_lacks_is_one_line():
    hide = (
        "import sys, runpy; sys.modules['mpmath'] = None; runpy.run_module('rectifier.tools.gpu_day', {}, '__main__')"
    )
    done = run_python(hide)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "rectifier gpu_day: it needs mpmath, which is not installed: pip install 'rectifier[verify]'\n"
    )


TESTS = """
import pytest
pytestmark = pytest.mark.gpu
def test_right(): pass
@pytest.mark.parametrize("case", ["x y"])
def test_wrong(case): assert False
def test_absent(): pytest.skip("no such thing")
"""
INI = "[pytest]\nmarkers =\n    gpu: needs one\n"


def test_the_tests_are_counted_and_the_failed_ones_named(tmp_path, clock):
    write(tmp_path, {"pytest.ini": INI, "tests/cupy_stand_in.py": "", "tests/test_one.py": TESTS})
    write(
        tmp_path, {"tests/test_two.py": "def test_other(): assert False", "tests/test_three.py": "import no_such_one"}
    )
    said = []
    found = suite.run(Budget(600, clock), said.append, lambda *_: lambda: None, tmp_path / "tests")
    failed = ("tests/test_one.py::test_wrong[x y]", "tests/test_three.py")
    assert found == suite.Suite(4, {"passed": 1, "failed": 1, "skipped": 1, "error": 1}, failed)
    assert said == []


def test_tests_for_which_no_time_is_left_are_stopped_and_said(tmp_path, clock):
    write(tmp_path, {"pytest.ini": INI, "tests/cupy_stand_in.py": ""})
    write(tmp_path, {"tests/test_one.py": "import pytest, time\n@pytest.mark.gpu\ndef test_long(): time.sleep(600)"})
    said = []
    assert suite.run(Budget(0, clock), said.append, lambda *_: lambda: None, tmp_path / "tests").counts == {}
    assert said[0] == "tests: stopped, as their time was up"


def test_what_was_written_before_a_stop_is_counted():
    text = (
        "collected 9 items / 5 deselected / 4 selected\n\na.py::t[1] PASSED [ 25%]\na.py::t[2] ERROR [ 50%]\na.py::t[3]"
    )
    assert suite.read(text) == suite.Suite(4, {"passed": 1, "error": 1}, ("a.py::t[2]",))


def test_an_installed_package_without_tests_says_so_and_goes_on(tmp_path, clock):
    said = []
    assert suite.run(Budget(600, clock), said.append, lambda *_: lambda: None, tmp_path / "tests") is None
    assert said == ["tests: this package is installed without them; run it from the repository"]
    assert (suite.TESTS / "cupy_stand_in.py").exists()


@pytest.mark.parametrize("dtype_name", ["float16", "bfloat16", "float32"])
def test_the_same_bits_are_found_the_same(stand_in, dtype_name):
    function = BACKENDS["numpy"].leaky_relu
    x = values.inputs(ALL["leaky_relu"], dtype_name)
    assert x.dtype == testing.dtype_of(dtype_name)
    assert x.size == 1 << 16 if x.itemsize == 2 else x.size > 1 << 20
    rows = values.compare(function, dtype_name, x)
    assert [(row.operation, row.points, row.different) for row in rows] == [
        ("value", x.size, 0),
        ("derivative", x.size, 0),
    ]


def test_one_other_bit_and_a_nan_out_of_place_are_found():
    x = np.array([0.0, 1.0, np.nan, 3.0], "f4")
    off = np.array([0.0, 1.0 + 2.0**-23, np.nan, 3.0], "f4")
    assert values._bits("f", "float32", "value", x, x, x) == values.Bits("f", "float32", "value", 4, 0)
    found = values._bits("f", "float32", "value", x, off, x)
    assert found == values.Bits("f", "float32", "value", 4, 1, 1.0, "1.0", "1.0000001", "1.0")
    assert values._bits("f", "float32", "value", x, -x, x).different == 3  # -0.0 is another number
    odd = values._bits("f", "float32", "value", x, np.array([0.0, np.nan, np.nan, 3.0], "f4"), x)
    assert (odd.different, odd.worst_ulp, odd.device) == (1, None, "nan")


@pytest.mark.parametrize("name", ["reglu", "softmax"])
def test_gates_and_rows_on_the_device_are_checked_against_the_truth(stand_in, monkeypatch, name):
    monkeypatch.setattr(values.multi_input, "MORE_PAIRS", 100)
    monkeypatch.setattr(values.multi_input, "LENGTHS", (3, 33))
    monkeypatch.setattr(values.multi_input, "ROW_ELEMENTS", 33)
    stage = values.bounded(ALL[name], "float32")
    assert stage.holds
    assert {row.source for row in stage.rows} == {"rectifier"}
    monkeypatch.setattr(values, "_carried", lambda *given, of=values._carried: _off(of(*given)))
    assert not values.bounded(ALL[name], "float32").holds


def _off(results):
    return tuple(map(_off, results)) if isinstance(results, tuple) else results * np.float32(1.001)


def few(monkeypatch, *names):
    """Let the catalogue have these functions alone, in one dtype."""
    monkeypatch.setattr(values, "CATALOGUE", names)
    monkeypatch.setattr(values, "GATES", ())
    monkeypatch.setattr(values, "ROWWISE", ())
    monkeypatch.setattr(values, "DTYPES", ("float16",))


def test_a_function_that_fails_keeps_no_other_from_being_compared(stand_in, monkeypatch, clock):
    few(monkeypatch, "relu", "gelu", "leaky_relu")

    def compare(function, dtype, x, of=values.compare):
        if function.__name__ == "gelu":
            raise RuntimeError("it does not compile")
        return of(function, dtype, x)

    monkeypatch.setattr(values, "compare", compare)
    said = []
    found = values.run(Budget(600, clock), said.append, lambda *_: lambda: None)
    assert [row.function for row in found.bits] == ["relu", "relu", "leaky_relu", "leaky_relu"]
    assert found.failed == ("gelu float16: RuntimeError: it does not compile",)
    assert said == []


def test_checks_for_which_no_time_is_left_are_said(monkeypatch, clock):
    few(monkeypatch, "relu", "gelu", "silu")

    def compare(function, dtype, x):
        clock.now += 600
        return []

    monkeypatch.setattr(values, "compare", compare)
    said = []
    values.run(Budget(600, clock), said.append, lambda *_: lambda: None)
    assert said == ["values: no time left for 2 of 3 checks, from gelu float16 on"]


def test_calls_are_measured_beside_others_and_what_fails_is_said(stand_in, monkeypatch):
    monkeypatch.setattr(Baseline, "missing", lambda self: None if self.name != "torch-cuda" else "absent")
    said = []
    costs = speed.costs_of(speed.TINY[0], 0.0, said.append)
    assert (costs[0].work, costs[0].call) == ("relu value", "rectifier: f(x)")
    assert {"CuPy maximum: cp.maximum(x, 0)"} <= {cost.call for cost in costs}
    assert all(cost.nanoseconds > 0 for cost in costs)
    assert [line.partition(": ")[2].partition(":")[0] for line in said] == ["CuPy kernel"]  # a stand-in knows only ours


def test_a_copy_is_of_all_bytes_and_reads_and_writes_them(stand_in, monkeypatch):
    launches = []
    stand_in.RawKernel = lambda code, name: lambda *launched: launches.append(launched)
    monkeypatch.setattr(speed, "COPIED", speed.COPIED._replace(rows=100, columns=1000))

    def times(calls, point, seconds, seconds_per_block):
        for call in calls.values():
            call.result()
        return dict.fromkeys(calls, (1000.0, 2000.0, 9000.0))

    monkeypatch.setattr(speed, "times", times)
    assert speed.copy_rates(1.0) == pytest.approx({"cupy.copyto": 4e11, "a kernel": 4e11})  # 800,000 bytes in 2 us
    ((grid, block, (to, array, vectors)),) = launches
    assert (to.nbytes, array.nbytes, vectors, type(vectors)) == (400_000, 400_000, 25_000, np.int64)
    assert grid[0] * block[0] >= 25_000


def test_tiny_calls_for_which_no_time_is_left_are_said(monkeypatch, clock):
    monkeypatch.setattr(speed, "copy_rates", lambda seconds: {"a kernel": 1.0})

    def costs_of(point, seconds, note):
        clock.now += 600
        return []

    monkeypatch.setattr(speed, "costs_of", costs_of)
    said = []
    found = speed.host(Budget(600, clock), said.append, lambda *_: lambda: None)
    assert found.copy_bytes_per_second == {"a kernel": 1.0}
    assert len(said) == len(speed.TINY) - 1
    assert said[0] == "calls: no time left for relu value out"


def test_the_benchmark_of_a_device_keeps_its_time(monkeypatch, clock):
    monkeypatch.setattr(Baseline, "missing", lambda self: None)
    tasks = []
    monkeypatch.setattr(worker, "converse", lambda task, environment: tasks.append(task) or iter(()))
    found = speed.bench(Budget(50, clock), print, lambda *_: lambda: None)
    assert {task["baseline"] for task in tasks} == {baseline.name for baseline in BASELINES if baseline.gpu}
    assert all(0 < task["limit"] <= 50 and task["seconds"] <= 50 for task in tasks)
    assert all(point.device == "gpu" for task in tasks for point in task["points"])
    tasks.clear()
    found = speed.bench(Budget(0, clock), print, lambda *_: lambda: None)
    assert tasks == []
    assert "CuPy recipe: no time left for pass 1 of 2" in found.skipped


def test_a_process_beyond_its_limit_is_stopped(monkeypatch):
    task = {"baseline": "numpy", "points": [], "seconds_per_point": 0, "limit": 0.001}
    (message,) = worker.converse(task, worker.environment(1))
    assert "stopped" in message["skipped"]


@pytest.mark.parametrize(("name", "operation"), recipe.CUPY)
def test_expressions_of_cupy_compute_what_ours_do(monkeypatch, name, operation):
    from scipy import special

    monkeypatch.setitem(sys.modules, "cupy", np)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", special)
    recipe._written.cache_clear()
    x, dy = np.random.default_rng(0).standard_normal((2, 20, 30))
    case = Case(name, operation, "default", dy, x, None, 0.0)
    (call,) = recipe.in_cupy(case)
    recipe._written.cache_clear()
    np.testing.assert_allclose(call.result(), ours(case).result(), rtol=1e-12, atol=1e-15)


def test_every_point_has_a_rival_on_the_device():
    known = {*recipe.CUPY, ("relu", "value"), ("relu", "backward")}
    assert {(point.function, point.operation) for point in speed.POINTS} == known
    assert len({point.rows * point.columns for point in speed.POINTS}) == 3
    assert runner._points_of(next(b for b in BASELINES if b.gpu), speed.POINTS[:1])[0].device == "gpu"
