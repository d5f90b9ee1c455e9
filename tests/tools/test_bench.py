"""The benchmark: the whole path on tiny arrays, statistics on rounds that are made up, and no timing asserted."""

import dataclasses
import functools
import importlib.util
import json
import os
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread

from conftest import STAND_INS, run_python
from rectifier import catalogue
from rectifier.tools.bench import (
    charts,
    comparison,
    estimates,
    first_use,
    history,
    pages,
    report,
    results,
    runner,
    timing,
    worker,
)  # fmt: skip
from rectifier.tools.bench.baselines import BASELINES
from rectifier.tools.bench.batches import DISTRIBUTIONS, DRAWN, batch
from rectifier.tools.bench.case import Baseline, Call, Case, ours, ways
from rectifier.tools.bench.points import FORMS, FUNCTIONS, ROWS, Point, has_operation, plan
from rectifier.tools.bench.stream_copy import stream_copy
from rectifier.tools.documents import put_section

ROOT = Path(__file__).parents[2]
BASELINE = {baseline.name: baseline for baseline in BASELINES}
NUMPY = BASELINE["numpy"]
IDLE = Point("relu", "value", "default", "idle", "float32", 5, 3)
POINTS = [
    *(
        Point("relu", operation, form, "hot", "float32", rows, 3)
        for rows in (2, 5)
        for operation, forms in FORMS.items()
        for form in forms
    ),
    IDLE,
]


@pytest.fixture(scope="module", autouse=True)
def _no_compiler():
    """Let the processes of pairs start at once; this process does compile."""

    def environment(*arguments, of=worker.environment, **keywords):
        return of(*arguments, **keywords) | {"RECTIFIER_ENGINE": "numpy"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "environment", environment)
        yield


@pytest.fixture(scope="module")
def measured():
    """Run on tiny arrays, in two passes; with what was kept after each process."""
    kept = []
    result = runner.run(
        POINTS, [NUMPY], threads=1, seconds_per_point=0, passes=2, first_uses=1, copy_from_bytes=0, keep=kept.append
    )
    return result, kept


@pytest.fixture(scope="module")
def tiny(measured):
    return measured[0]


def made_up(seed, factor=1.0, baselines=("numpy", "torch", "jax"), points=POINTS, processes=3, between=0.05):
    """Make a run whose ratios scatter by 5 % from process to process and by 4 % from round to round."""
    rng = np.random.default_rng(seed)
    measurements = []
    for baseline in baselines:
        for k, point in enumerate(points):
            ratio = (1.5 + k / 10) * np.exp(between * rng.standard_normal((processes, 1)))
            ours = 100 * factor * np.exp(0.2 * rng.standard_normal((processes, 9)))  # load, which both see
            theirs = ours / factor * ratio * np.exp(0.04 * rng.standard_normal((processes, 9)))
            times = (tuple(map(tuple, array.tolist())) for array in (ours, theirs, ours))
            measurements.append(results.Measurement(baseline, point, "f(x)", "float32", *times))
    versions = {baseline: f"{baseline} 1.0" for baseline in baselines}
    return results.Run(
        "2026-01-01T00:00:00+00:00", 1.0, True, 2, None, "numpy.copyto", runner.describe_machine(), versions, (), {},
        tuple(measurements),
    )  # fmt: skip


def change(result, times, which=lambda m: True, name="ours_nanoseconds"):
    """Let some measurements of a run take another time."""
    changed = (
        dataclasses.replace(m, **{name: tuple(tuple(times * t for t in rounds) for rounds in getattr(m, name))})
        if which(m)
        else m
        for m in result.measurements
    )
    return dataclasses.replace(result, measurements=tuple(changed))


def found(old, new):
    return [change for change in comparison.compare(old, new) if change.significant]


def test_each_point_is_measured_in_every_form_in_each_pass(tiny):
    assert list(tiny.by_point) == sorted(POINTS, key=list(tiny.by_point).index)
    for measurement in tiny.measurements:
        assert len(measurement.ratios) == 2
        assert all(len(ratios) >= timing.FEWEST_ROUNDS for ratios in measurement.ratios)
        low, high = measurement.interval
        assert 0 < low < measurement.times_faster < high
    assert tiny.baselines == {"numpy": f"numpy {np.__version__}"}
    assert tiny.skipped == ()
    assert tiny.threads == 1


def test_in_place_is_set_against_no_copy_of_twice_as_many_bytes(tiny):
    for measurement in tiny.measurements:
        assert (measurement.fraction_of_copy is None) == (measurement.point.form == "in_place")


def test_a_copy_is_timed_where_the_caches_cannot_hold_it():
    point = POINTS[0]
    assert timing.measure(NUMPY, point, 0, 0, copy_from_bytes=48).fraction_of_copy > 0
    assert timing.measure(NUMPY, point, 0, 0, copy_from_bytes=49).fraction_of_copy is None


def test_what_is_kept_after_each_process_grows_to_the_run(measured):
    result, kept = measured
    pooled = [point for point in POINTS if point.form != "unpooled"]
    assert [len(run.measurements) for run in kept] == [len(pooled), *[len(POINTS)] * 3]
    assert kept[-1].measurements == result.measurements


def test_first_use_is_measured(tiny):
    assert tiny.first_use.keys() == {"rectifier, empty store", "rectifier, filled store", "numpy"}
    assert all(value > 0 for figures in tiny.first_use.values() for value in figures.values())


def test_first_use_without_page_cache_or_proc_says_none(monkeypatch, tmp_path):
    monkeypatch.delattr(first_use.os, "posix_fadvise")
    monkeypatch.setattr(first_use, "_FIRST", first_use._FIRST.replace("/proc", "/absent"))
    program = ("import numpy as np", "np.ones(3)")
    figures = first_use._first_use("numpy", program, "filled", tmp_path, 1, dict(os.environ))
    assert {name for name, value in figures.items() if value is None} == {
        "first_result_from_disk_seconds", "peak_memory_bytes",
    }  # fmt: skip


def test_a_first_use_that_fails_is_a_line(monkeypatch):
    broken = ("import numpy", "numpy.absent")
    monkeypatch.setattr(first_use, "OUR_FIRST", broken)
    lines = []
    baselines = [dataclasses.replace(NUMPY, first=broken)]
    assert first_use.first_uses_of(baselines, 1, 1, lines.append, lambda stage, steps: lambda: None) == {}
    reason = "first use: AttributeError: module 'numpy' has no attribute 'absent'"
    assert lines == [f"{name}: {reason}" for name in ("rectifier, empty store", "rectifier, filled store", "numpy")]


@pytest.mark.parametrize("package", ["numba", "rectifier"])
def test_installed_is_with_what_a_package_requires(package):
    pytest.importorskip(package)
    files = first_use.installed_files(package)
    assert {path for path in first_use.installed_files("numpy") if path.suffix == ".so"} < set(files)
    assert any("llvmlite" in path.name for path in files)
    assert len(files) == len(set(files))
    assert any(path.name == "__init__.py" and path.parent.name == package for path in files)


def test_the_environment_sets_threads_and_pool():
    pooled, unpooled = worker.environment(3), worker.environment(3, pooled=False)
    assert {pooled[name] for name in worker.THREAD_VARIABLES} == {"3"}
    assert unpooled["RECTIFIER_POOL_BYTES"] == "0"
    assert pooled.get("RECTIFIER_POOL_BYTES") == os.environ.get("RECTIFIER_POOL_BYTES")


def test_unpooled_points_have_a_process_of_their_own(monkeypatch):
    seen = []

    def converse(task, environment):
        seen.append(({point.form for point in task["points"]}, environment.get("RECTIFIER_POOL_BYTES")))
        return iter(())

    monkeypatch.setattr(worker, "converse", converse)
    monkeypatch.delenv("RECTIFIER_POOL_BYTES", raising=False)
    runner.run(POINTS, [NUMPY], passes=1, first_uses=0)
    assert seen == [({"default", "fresh", "out", "in_place", "slice"}, None), ({"unpooled"}, "0")]


def test_every_rival_is_measured_in_each_pass_in_an_order_of_its_own(monkeypatch):
    pytest.importorskip("numba")
    order = []
    monkeypatch.setattr(worker, "converse", lambda task, environment: order.append(task["baseline"]) or iter(()))
    runner.run(POINTS[:1], [BASELINE[name] for name in ("numpy", "numpy-zeros", "numba", "product")], first_uses=0)
    passes = [order[k : k + 4] for k in range(0, 12, 4)]
    assert len(order) == 12
    assert all(len(set(one)) == 4 for one in passes)
    assert passes[0] != passes[1] or passes[1] != passes[2]


def test_json_comes_back_as_it_was(tiny, tmp_path):
    results.save(tiny, tmp_path / "run.json")
    assert results.load(tmp_path / "run.json") == tiny
    assert list(tmp_path.iterdir()) == [tmp_path / "run.json"]


def test_everything_is_written(tiny, tmp_path):
    section = f"before é\n{report.BEGIN}\nsomething else\n{report.END}\nafter\n"
    (tmp_path / "README.md").write_text(section, encoding="utf-8")
    written = pages.write_all(tiny, tmp_path, tmp_path / "README.md")
    names = [f"relu-{what}{suffix}" for what in ("time", "ratio", "copy") for suffix in (".svg", ".png")]
    assert [path.name for path in written] == ["run.json", *names, "report.md", "README.md"]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written}
    assert pages.digest(tmp_path / "run.json") in (tmp_path / "relu-ratio.svg").read_text(encoding="utf-8")
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert all(f"]({name})" in page for name in names[::2])
    assert ("## Slower here" in page) == bool(report.rows(tiny, ("baseline",)))
    assert "## First use" in page
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("before é\n")
    assert readme.endswith("after\n")
    assert "something else" not in readme
    for name in names[1::2]:
        pixels = imread(tmp_path / name)
        assert pixels[..., 3].min() == 1
        assert pixels[..., :3].min() < 0.2


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="no <!-- bench -->"):
        put_section("nothing", "", report.BEGIN, report.END)


@pytest.mark.parametrize(("kept", "page"), [("float32", "speed"), ("float64", "speed-float64")])
def test_the_pages_of_the_family_agree_with_the_runs_that_are_kept(kept, page):
    result = results.load(ROOT / "benchmarks" / f"family-{kept}.json")
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert put_section(text, report.markdown(result), report.BEGIN, report.END) == text
    assert {point.dtype for point in result.by_point} == {kept}


def test_the_page_agrees_with_the_run_that_is_kept():
    kept = ROOT / "benchmarks" / "run.json"
    section = pages.readme_section(results.load(kept), "../benchmarks/{}-ratio.svg".format)
    page = (ROOT / "docs" / "speed-relu.md").read_text(encoding="utf-8")
    assert put_section(page, section, report.BEGIN, report.END) == page
    assert pages.digest(kept) in (ROOT / "benchmarks" / "relu-ratio.svg").read_text(encoding="utf-8")


ALL = tuple(baseline.name for baseline in BASELINES)


@pytest.mark.parametrize("baselines", [ALL[:3], ALL])
def test_runs_of_the_same_code_do_not_differ(baselines):
    points = POINTS[:12]
    wrong = [
        bool(found(made_up(seed, 1, baselines, points), made_up(seed + 100, 1, baselines, points)))
        for seed in range(20)
    ]
    assert sum(wrong) <= 1


def test_the_history_keeps_what_a_comparison_needs(tmp_path):
    old, new = made_up(0, baselines=ALL), made_up(1, 1.2, ALL)
    new = dataclasses.replace(new, started="2027-01-01T00:00:00+00:00")
    records = history.add(history.add([], history.of_run(new)), history.of_run(old))
    history.save(records, tmp_path / "history.json")
    kept = history.load(tmp_path / "history.json")
    assert [record.started for record in kept] == [old.started, new.started]
    ((earlier, later, changes),) = history.steps(kept)
    assert (earlier.started, later.started) == (old.started, new.started)
    assert {c.point for c in changes if c.significant} == {c.point for c in found(old, new)} != set()
    assert (tmp_path / "history.json").stat().st_size < 100 * len(new.measurements)
    assert history.add(kept, history.of_run(new)) == [kept[0], history.of_run(new)]  # in the place of the same run
    page = history.page(kept)
    assert "1.2" in history.rows(changes)[0][1]
    for words in ("slower beyond noise", earlier.name, "x slower |"):
        assert words in page


def test_other_machines_have_a_history_of_their_own():
    old, new = made_up(0), dataclasses.replace(made_up(1, 1.2), started="2027-01-01T00:00:00+00:00", threads=7)
    records = [history.of_run(old), history.of_run(new)]
    assert [*history.steps(records)] == []
    assert history.page(records).count("\n## ") == 2
    assert history.verdict([]).startswith("Nothing to compare")


@pytest.mark.parametrize("factor", [1.2, 1 / 1.2])
def test_a_fifth_is_found_at_most_points(factor):
    old, new = made_up(0, baselines=ALL), made_up(1, factor, ALL)
    changes = found(old, new)
    assert len(changes) > 0.8 * len(POINTS)
    assert all((change.factor > 1) == (factor > 1) and change.pairs == len(ALL) for change in changes)


def test_a_change_at_one_point_is_found_there_alone():
    slow = change(made_up(1, baselines=ALL), 1.3, lambda m: m.point == POINTS[4])
    assert [change.point for change in found(made_up(0, baselines=ALL), slow)] == [POINTS[4]]


def test_a_rival_that_changes_does_not_make_ours_change():
    slow = change(made_up(1, baselines=ALL), 2.0, lambda m: m.baseline == "jax", "baseline_nanoseconds")
    assert found(made_up(0, baselines=ALL), slow) == []


def test_a_rival_of_another_version_is_no_yardstick():
    old = made_up(0)
    other = dataclasses.replace(made_up(1), baselines={**old.baselines, "jax": "jax 2.0"})
    assert comparison.compare(old, other) == []
    assert {change.pairs for change in comparison.compare(made_up(0, baselines=ALL), made_up(1))} == {3}


def test_two_rivals_are_too_few():
    assert comparison.compare(made_up(0, baselines=ALL[:2]), made_up(1, 2.0, ALL[:2])) == []


def test_other_versions_are_named():
    old = made_up(0)
    new = dataclasses.replace(
        old, threads=1, commit="abc", baselines={**old.baselines, "jax": "jax 2.0"}, measurements=old.measurements[:-1]
    )
    assert comparison.differences(old, new) == [
        "threads: 2 then, 1 now",
        "commit: None then, abc now",
        "jax: jax 1.0 then, jax 2.0 now",
        "1 measurements have no counterpart in the other file",
    ]


@pytest.mark.parametrize("name", ["processor", "engine", "simd", "threads"])
def test_runs_under_other_conditions_are_not_comparable(name):
    old = made_up(0)
    assert comparison.comparable(old, made_up(1))
    other = {"threads": 7} if name == "threads" else {"machine": {**old.machine, name: "another"}}
    assert not comparison.comparable(old, dataclasses.replace(old, **other))


def test_a_slowdown_of_ours_is_found_by_whoever_measures_it(monkeypatch):
    pytest.importorskip("numba")
    baselines = [baseline for baseline in BASELINES if baseline.packages in (("numpy",), ("numba",))]
    assert len(baselines) >= comparison.FEWEST_PAIRS

    def measured():
        points = [POINTS[0]._replace(rows=rows) for rows in (2, 5)]
        measurements = [timing.measure(baseline, point, 0, 1e-4) for baseline in baselines for point in points]
        return dataclasses.replace(
            made_up(0, baselines=[baseline.name for baseline in baselines], points=points),
            measurements=tuple(measurements),
        )

    def slow(case, ours=timing.ours):
        call = ours(case)

        def ten_times(*arguments, **keywords):
            for _ in range(9):
                call.function(*arguments, **keywords)
            return call.function(*arguments, **keywords)

        return dataclasses.replace(call, function=ten_times)

    old = measured()
    monkeypatch.setattr(timing, "ours", slow)
    assert [change.factor > 2 for change in found(old, measured())] == [True, True]


@pytest.mark.parametrize("n", [7, 12, 25, 60])
def test_the_interval_holds_the_median_often_enough(n):
    rng = np.random.default_rng(n)
    intervals = [estimates.interval_of_median(values) for values in np.exp(rng.standard_normal((2000, n)))]
    held = np.mean([low <= 1 <= high for low, high in intervals])
    assert 0.94 < held < 0.995


def against(*processes):
    ours = tuple((1.0,) * len(ratios) for ratios in processes)
    return results.Measurement("numpy", POINTS[0], "f", "float32", ours, processes, ())


def test_verdicts_follow_the_interval():
    assert against(*[(1.2,) * 7] * 3).verdict == "ours"
    assert against(*[(0.8,) * 7] * 3).verdict == "baseline"
    assert against(*[(1.01,) * 7] * 3).verdict == "undecided"


@pytest.mark.parametrize(
    "processes",
    [
        ((1.1,) * 7,),  # one process says little
        ((0.8,) * 7, (1.5,) * 7, (1.9,) * 7),
        ((0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.7),) * 3,
    ],
    ids=["one process", "processes differ", "rounds differ"],
)
def test_what_is_too_noisy_is_undecided(processes):
    measurement = against(*processes)
    assert not measurement.conclusive
    assert measurement.verdict == "undecided"


@pytest.mark.parametrize("deviations", [(0.05,), (0.02, 0.05), (0.05, 0.07)])
def test_the_interval_of_a_ratio_holds_it_often_enough(deviations):
    runs = [made_up(seed, 1, ("numpy", "torch"), POINTS, 3, between) for seed, between in enumerate(deviations * 20)]
    inside = [
        low <= 1.5 + POINTS.index(m.point) / 10 <= high
        for run in runs
        for m in run.measurements
        for low, high in [m.interval]
    ]
    assert 0.92 < np.mean(inside) < 0.995


@pytest.mark.parametrize(("degrees", "bound"), [(2, 4.303), (4, 2.776), (6, 2.447), (9, 2.262), (1000, 1.962)])
def test_the_t_distribution_is_near_the_printed_one(degrees, bound):
    assert estimates.t_bound(degrees) == pytest.approx(bound, rel=0.05)
    assert estimates.t_tail(estimates.t_bound(degrees), degrees) == pytest.approx(0.05)


def test_a_point_is_ours_only_against_every_rival():
    fast, slow = against(*[(1.5,) * 7] * 3), against(*[(0.5,) * 7] * 3)
    unsure = against(*[(1.0,) * 7] * 3)
    for measurements, verdict in (((fast, fast), "ours"), ((fast, unsure), "undecided"), ((unsure, slow), "baseline")):
        shown = dataclasses.replace(made_up(0), measurements=measurements)
        assert shown.verdict(POINTS[0]) == verdict


def test_a_rival_that_wins_is_shown_winning():
    shown = made_up(0, factor=8.0, between=0.01)
    assert all(m.verdict == "baseline" for m in shown.measurements)
    assert "**0." in report.markdown(
        dataclasses.replace(shown, measurements=tuple(_square(m) for m in shown.measurements))
    )
    assert f"slower than one at {len(POINTS)}" in " ".join(report.notes(shown))
    assert len(report.rows(shown, ("baseline",))) == len(POINTS)
    page = pages.page(shown, [])
    section = page.partition("## Slower here")[2].partition("##")[0]
    assert section.count("\n| ") == len(POINTS) + 1  # and the header


def _square(measurement):
    return dataclasses.replace(measurement, point=measurement.point._replace(rows=10, columns=10))


def test_only_rivals_that_ran_are_said_to_reuse_memory():
    assert "reuse" not in report.markdown(made_up(0, points=[POINTS[0]]))
    assert "PyTorch and ONNX" not in report.markdown(made_up(0))
    shown = report.markdown(made_up(0, baselines=("numpy", "onnxruntime"), points=[POINTS[0]]))
    assert "ONNX Runtime keeps such memory" in shown
    assert "TensorFlow" not in shown


@pytest.mark.parametrize(("threads", "words"), [(1, "one thread each"), (2, "2 threads each")])
def test_threads_are_told_as_they_were(threads, words):
    shown = dataclasses.replace(made_up(0), threads=threads)
    assert words in report.markdown(shown)
    assert words.removesuffix(" each") in " ".join(report.notes(shown))


def test_a_run_of_idle_calls_alone_is_reported(tmp_path):
    pages.write_all(made_up(0, points=[IDLE]), tmp_path)
    assert "idle" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("packages", "words"),
    [
        (("no_such_package",), "no_such_package is not installed"),
        (("numpy", "no_such_package"), "no_such_package is not installed"),
        (("no_such_package", "nor_this"), "no_such_package and nor_this are not installed"),
    ],
)
def test_a_rival_that_is_not_installed_is_a_line(packages, words):
    absent = Baseline("absent", "Absent", packages, NUMPY.calls)
    result = runner.run(POINTS[:1], [absent], first_uses=0)
    assert result.skipped == (f"Absent: {words}",)
    assert result.measurements == ()


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_a_line():
    reasons = [dataclasses.replace(baseline, packages=("numpy",)).missing() for baseline in BASELINES if baseline.gpu]
    assert reasons == ["no GPU of NVIDIA's here"] * 4


def test_events_tell_the_time_of_a_gpu(monkeypatch):
    moments, waited = iter([2.0, 5.0]), []

    class Event:
        def record(self):
            self.moment = next(moments)

        def synchronize(self):
            waited.append(self.moment)

    cupy = ModuleType("cupy")
    cupy.cuda = SimpleNamespace(Event=Event, get_elapsed_time=lambda start, end: end.moment - start.moment)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    timer = timing._timer(Call("f()", list, ()), POINTS[0]._replace(device="gpu"))
    assert timer.timeit(10) == 3e-3  # an event counts milliseconds
    assert waited == [5.0]


def test_a_rival_on_a_gpu_is_measured_beside_ours_there():
    gpu = dataclasses.replace(NUMPY, gpu=True)
    assert runner._points_of(NUMPY, POINTS) == POINTS
    points = runner._points_of(gpu, POINTS)
    assert {point.device for point in points} == {"gpu"}
    assert {point.form for point in points} == {"default", "out", "in_place", "slice"}
    assert [point._replace(device="cpu") for point in points] == [
        point for point in POINTS if point.form not in ("fresh", "unpooled")
    ]


def test_points_of_a_gpu_are_rows_and_pictures_of_their_own(tmp_path):
    both = [POINTS[0], POINTS[0]._replace(device="gpu")]
    result = made_up(0, points=[p._replace(rows=10, columns=10) for p in both])
    result.machine["gpu"] = {"devices": ["Card 0"], "reason": "CuPy 14"}
    page = report.markdown(result)
    assert "| relu value on the GPU |" in page
    assert "| relu value |" in page
    assert "On the GPU (Card 0)" in page
    assert "No GPU" not in page
    assert {"relu-time", "relu-time-gpu"} <= set(charts.draw(result))
    results.save(result, tmp_path / "run.json")
    assert results.load(tmp_path / "run.json").by_point.keys() == result.by_point.keys()


def test_the_quick_run_says_what_it_leaves_out():
    result = runner.run([], [BASELINE["numpy"], dataclasses.replace(NUMPY, title="Slow", quick=False)], quick=True)
    assert result.skipped[0] == "Slow: not in the quick run"
    assert "no first use" in result.skipped[1]


def test_a_size_that_memory_cannot_hold_is_a_line(monkeypatch):
    machine = {**runner.describe_machine(), "memory_bytes": 2 * runner.ARRAYS * 4 * 6}
    monkeypatch.setattr(runner, "describe_machine", lambda: machine)
    result = runner.run([POINTS[0], IDLE], [NUMPY], passes=1, first_uses=0)
    assert result.skipped == ("5 x 3: takes 1.2e-06 GB, of 4.8e-07 to be used",)
    assert list(result.by_point) == [POINTS[0]]


def test_a_rival_whose_process_dies_is_a_line(monkeypatch, tmp_path):
    (tmp_path / "crysx_nn.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(tmp_path)
    assert runner.run(POINTS[:1], [BASELINE["crysx_nn"]], first_uses=0).skipped == (
        "crysx_nn: its process ended with status 1: ImportError: broken",
    )


def test_a_process_sees_no_module_of_the_working_directory(monkeypatch, tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('wrong')")
    monkeypatch.chdir(tmp_path)
    result = runner.run(POINTS[:1], [NUMPY], passes=1, seconds_per_point=0, first_uses=0)
    assert (result.skipped, len(result.measurements)) == ((), 1)


def test_a_large_point_that_is_decided_is_measured_once(monkeypatch):
    seen = []
    large = POINTS[0]._replace(rows=runner.LARGE)

    def converse(task, environment):
        seen.append(list(task["points"]))
        for m in made_up(0, baselines=("numpy",), points=POINTS[:1], processes=1).measurements:
            for point in task["points"]:
                yield {"measurement": results.plain(dataclasses.replace(m, point=point)), "done": 1}

    monkeypatch.setattr(worker, "converse", converse)
    monkeypatch.setattr(runner, "DECISIVE", 1.1)
    runner.run([POINTS[0], large], [NUMPY], first_uses=0)
    assert seen == [[POINTS[0], large], [POINTS[0]], [POINTS[0]]]


def test_reasons_that_are_the_same_are_one_line(monkeypatch):
    said = [{"skipped": "TypeError: no", "points": [point]} for point in POINTS[:3]]
    monkeypatch.setattr(worker, "converse", lambda task, environment: iter(said))
    result = runner.run(POINTS, [NUMPY], first_uses=0)
    assert result.skipped == ("NumPy recipe: TypeError: no (3 points, such as relu value, float32, 2 x 3)",)


def test_time_that_is_up_is_a_line():
    said = []
    task = {"baseline": "numpy", "points": POINTS[:2], "seconds_per_point": 0, "copy_from_bytes": 0, "seconds": -1}
    worker.measure_pair(task, said.append)
    assert said[1:] == [{"skipped": "no time left in a pass", "points": POINTS[:2], "done": 2}]


def test_results_that_differ_are_not_timed():
    wrong = Baseline("wrong", "Wrong", ("numpy",), lambda case: iter([Call("wrong(x)", np.abs, (case.x,))]))
    with pytest.raises(timing.NotMeasuredError, match=r"the results of wrong\(x\) differ from ours"):
        timing.measure(wrong, POINTS[0], 0, 0)


def test_results_of_another_shape_are_not_timed():
    wrong = Baseline("wrong", "Wrong", ("numpy",), lambda case: iter([Call("wrong(x)", np.ravel, (case.x,))]))
    with pytest.raises(timing.NotMeasuredError, match="differ from ours"):
        timing.measure(wrong, POINTS[0], 0, 0)


def test_a_way_that_fails_leaves_the_others():
    def fail(x):
        raise TypeError("not for this\nat all")

    def calls(case):
        yield Call("fail(x)", fail, (case.x,))
        yield from NUMPY.calls(case)

    reasons = []
    measurement = timing.measure(dataclasses.replace(NUMPY, calls=calls), POINTS[0], 0, 0, report=reasons.append)
    assert measurement.baseline_call == "np.maximum(0., x)"
    assert reasons == ["fail(x): TypeError: not for this"]


def test_the_quickest_way_is_measured():
    def calls(case):
        (call,) = NUMPY.calls(case)
        yield Call("slow", lambda x: [call.function(x) for _ in range(50)][-1], (case.x,))
        yield call

    for point in (POINTS[0], IDLE):
        assert timing.measure(dataclasses.replace(NUMPY, calls=calls), point, 0, 0).baseline_call == "np.maximum(0., x)"


def test_a_ratio_is_the_median_of_the_ratios_of_rounds(monkeypatch):
    seconds = {"ours": [1.0, 2.0, 4.0], "baseline": [3.0, 2.0, 8.0]}
    turns = []

    class Clock:
        def __init__(self, name):
            self.name = name

        def timeit(self, number):
            turns.append(self.name)
            return seconds[self.name].pop(0)

    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)
    rounds = timing._collect({name: Clock(name) for name in seconds}, IDLE, 0, 0, 3, 3)
    assert turns == ["ours", "baseline", "baseline", "ours", "ours", "baseline"]  # nobody is always first
    assert [one["baseline"] / one["ours"] for one in rounds] == [3, 1, 2]
    assert against((3.0, 1.0, 2.0)).times_faster == pytest.approx(2)  # the ratio of the medians would be 1.5


def test_fresh_results_are_kept_and_let_go_in_bounds(monkeypatch):
    point = Point("relu", "value", "fresh", "hot", "float32", 2, 3)
    monkeypatch.setattr(timing, "HELD_BYTES", 8 * point.elements * 4)
    alive = Counter()

    class Result:
        def __init__(self):
            alive["now"] += 1
            alive["most"] = max(alive["most"], alive["now"])

        def __del__(self):
            alive["now"] -= 1

    timer = timing._timer(Call("f", Result, ()), point)
    for _ in range(20):
        timer.timeit(2)
        assert alive["now"] >= 2
    assert 4 <= alive["most"] <= 8


def test_a_point_that_fails_is_a_line_and_the_next_is_measured(monkeypatch):
    def calls(case):
        if len(case.x) == 2:
            raise RuntimeError("not implemented\nfor this")
        return NUMPY.calls(case)

    monkeypatch.setattr(worker, "BASELINES", [dataclasses.replace(NUMPY, calls=calls)])
    said = []
    task = {"baseline": "numpy", "points": [POINTS[0], IDLE], "seconds_per_point": 0, "seconds_per_block": 0}
    worker.measure_pair(task | {"seconds": None, "copy_from_bytes": 0}, said.append)
    assert said[1] == {"skipped": "RuntimeError: not implemented", "points": [POINTS[0]]}
    assert said[3]["measurement"]["point"] == IDLE


def test_what_a_rival_does_not_offer_is_no_row():
    with pytest.raises(timing.NotMeasuredError, match=r"^$"):
        timing.measure(Baseline("none", "None", ("numpy",), lambda case: iter(())), POINTS[0], 0, 0)


@pytest.mark.parametrize("function", ["relu", "leaky_relu"])
@pytest.mark.parametrize("name", ["numpy", "numpy-zeros", "numba", "product"])
def test_numpy_and_numba_offer_what_they_have(name, function):
    baseline = BASELINE[name]
    pytest.importorskip(baseline.packages[0])
    offered = set()
    for operation in ("value", "derivative", "backward"):
        point = Point(function, operation, "default", "hot", "float32", 2, 3)
        reasons = []
        if timing._ways(baseline, timing.case_of(point), 1e-6, reasons.append):
            assert timing.measure(baseline, point, 0, 0).baseline == name
            offered.add(operation)
        assert reasons == []
    everything = {"value", "derivative", "backward"}
    assert offered == (everything if name in ("numpy", "numba") else {"value"} if function == "relu" else set())


# Each in a process, as they keep settings of theirs; the runner checks their results before it times them.
@pytest.mark.parametrize(
    "name", [baseline.name for baseline in BASELINES if baseline.packages[0] not in ("numpy", "numba")]
)
def test_an_installed_rival_computes_what_ours_does(name):
    baseline = BASELINE[name]
    if reason := baseline.missing():
        pytest.skip(reason)
    bfloat16 = importlib.util.find_spec("ml_dtypes") is not None
    whole = (*STAND_INS, "gelu")
    points = [
        Point(function, operation, form, "hot", dtype, 2, 3)
        for function in FUNCTIONS
        for operation, forms in FORMS.items()
        if has_operation(function, operation) and (operation != "step" or function in (*whole, "softmax"))
        for form in forms
        if form != "unpooled" and (form == "default" or function in whole)
        for dtype in ("float32", *(("bfloat16",) if bfloat16 and form == "default" and function in whole else ()))
    ]
    result = runner.run(points, [baseline], threads=1, passes=1, seconds_per_point=0, first_uses=0)
    assert result.skipped == ()
    assert {m.point.function for m in result.measurements} & {"relu", "sigmoid"}
    for m in result.measurements:  # SciPy knows no bfloat16, and says so
        assert m.baseline_dtype == m.point.dtype or (name == "scipy" and m.point.dtype == "bfloat16")


def test_numpy_computes_a_gradient_without_a_temporary_only_where_it_can():
    x, dy = np.array([[-1.0, 2.0]]), np.array([[3.0, 4.0]])
    for out in (np.empty_like(x), dy):
        form = "in_place" if out is dy else "out"
        (call,) = NUMPY.calls(Case("relu", "backward", form, dy, x, out, 0))
        assert call.result() is out
        assert out.tolist() == [[0, 4]]


def test_the_plan_covers_the_recipe_and_the_decades():
    points = plan(FUNCTIONS)
    for elements in (1, 100, 900, 10**3, 10**4, 10**5, 10**6, 10**7, 9_000_000, 25_000_000, 10**8):
        here = {(p.operation, p.form) for p in points if (p.function, p.elements) == ("relu", elements)}
        usual = ("default", "out", "in_place") if elements != 10**7 else ("default",)
        assert here >= {(d, form) for d, forms in FORMS.items() for form in forms if form in usual}
    assert {point.operation for point in points} == set(FORMS)
    assert {point.form for point in points} == set(FORMS["value"])
    assert {p.form for p in points if (p.rows, p.columns) == (2000, 1000)} == {"slice"}
    assert {point.state for point in points} == {"hot", "idle"}
    assert len(points) == len(set(points))


def test_the_plan_has_rows_of_every_length_and_a_step_of_every_function():
    points = plan(FUNCTIONS)
    for function in catalogue.ROWWISE:
        found = {(p.rows, p.columns, p.operation) for p in points if p.function == function}
        assert found == {(*shape, operation) for shape in ROWS for operation in ("value", "backward", "step")}
    assert {p.function for p in points if p.operation == "step"} == set(FUNCTIONS)
    assert not {
        p
        for p in points
        if p.function not in catalogue.ROWWISE and (p.rows, p.columns) in ((20, 50_000), (100_000, 10))
    }


def test_the_plan_draws_all_batches_from_one_distribution():
    assert {point.distribution for point in plan(["relu", "softmax"], distribution="negative")} == {"negative"}
    assert {point.distribution for point in plan(["relu"])} == {"normal"}


# Mean, standard deviation, least and largest that they may have. Of a million numbers the first two are sure to 0.005
# of the deviation, and none is beyond 7 deviations.
@pytest.mark.parametrize(
    ("name", "mean", "deviation", "least", "largest"),
    [
        ("normal", 0, 1, -7, 7),
        ("normal2", 0, 2, -14, 14),
        ("normal4", 0, 4, -28, 28),
        ("uniform", 0, 200 / 12**0.5, -100, 100),
        ("negative", -2 * (2 / np.pi) ** 0.5, 2 * (1 - 2 / np.pi) ** 0.5, -14, 0),
        ("sorted", 0, 1, -7, 7),
    ],
)
def test_a_batch_is_drawn_from_its_distribution(name, mean, deviation, least, largest):
    x, dy = batch(1024, 1024, "float32", name)
    assert abs(x.mean(dtype=float) - mean) < 0.005 * deviation
    assert x.std(dtype=float) == pytest.approx(deviation, rel=0.005)
    assert least <= x.min() < x.max() <= largest
    assert dy.std(dtype=float) == pytest.approx(1, rel=0.005)
    assert bool((x.reshape(-1)[1:] >= x.reshape(-1)[:-1]).all()) == (name == "sorted")


def test_a_sorted_batch_longer_than_what_is_drawn_has_the_same_quantiles():
    x, _ = batch(3, DRAWN // 2 + 1, "float32", "sorted")
    assert (np.diff(x.reshape(-1)) >= 0).all()
    deviates = {0.025: -1.95996, 0.1: -1.28155, 0.5: 0, 0.9: 1.28155, 0.975: 1.95996}
    found = [float(x.reshape(-1)[int(part * x.size)]) for part in deviates]
    assert found == pytest.approx(list(deviates.values()), abs=0.01)


def test_all_distributions_are_named():
    assert {name for name, *_ in test_a_batch_is_drawn_from_its_distribution.pytestmark[0].args[1]} == set(
        DISTRIBUTIONS
    )


def test_negative_values_in_place_are_no_point():
    point = Point("leaky_relu", "value", "in_place", "hot", "float32", 2, 3, "cpu", "negative")
    assert timing.case_of(point) is None
    assert (timing.case_of(point._replace(form="default")).x < 0).all()


def test_a_point_of_a_run_that_knew_no_distributions_is_normal(tiny):
    old = results.plain(tiny.measurements[0]) | {"point": ["relu", "value", "default", "hot", "float32", 2, 3, "cpu"]}
    assert results.measurement_of(old).point.distribution == "normal"


def test_a_distribution_that_is_not_known_is_refused(tiny):
    point = tiny.measurements[0].point._replace(distribution="cauchy")
    with pytest.raises(ValueError, match="no such point"):
        results.measurement_of(results.plain(dataclasses.replace(tiny.measurements[0], point=point)))


def of_distribution(name, **keywords):
    return made_up(
        0, points=[point._replace(distribution=name, rows=10, columns=10) for point in POINTS[:3]], **keywords
    )


def test_a_report_says_what_x_is_drawn_from():
    for name, title in (("normal", "N(0, 1)"), ("normal2", "N(0, 2²)"), ("uniform", "uniform from -100 to 100")):
        assert f"float32, 2 threads, {title}.\n" in report.markdown(of_distribution(name))
        assert f"float32, 2 threads, {title}." in " ".join(report.notes(of_distribution(name)))


def test_runs_of_other_distributions_are_not_compared():
    old, new = of_distribution("normal", baselines=ALL), of_distribution("normal2", baselines=ALL)
    assert comparison.compare(old, new) == []
    assert comparison.why_not(old, new) == "the two files are of different distributions: N(0, 1) and N(0, 2²)"
    assert len(comparison.compare(new, new)) == 3


@pytest.mark.parametrize("function", ["relu", "gelu", "softmax", "log_softmax"])
def test_a_step_is_the_value_and_then_the_backward(function):
    case = timing.case_of(Point(function, "step", "default", "hot", "float64", 4, 3))
    value, gradient = np.split(ours(case).result(), 2)
    f = catalogue.ALL[function]
    assert value.tolist() == f(case.x).tolist()
    assert gradient.tolist() == f.backward(case.dy, case.x).tolist()


def test_rows_go_backward_from_y_and_numbers_from_x():
    for function, text in (("softmax", "f.backward(dy, y=y)"), ("gelu", "f.backward(dy, x)")):
        point = Point(function, "backward", "default", "hot", "float32", 2, 3)
        assert ours(timing.case_of(point)).text == text
        assert ours(timing.case_of(point._replace(operation="step"))).text == f"f(x), then {text}"


def test_a_step_hands_the_value_to_a_backward_that_takes_it():
    x, dy, before = np.ones(3), np.ones(3), np.zeros(3)

    def calls(case):
        if case.operation == "value":
            yield Call("value", np.multiply, (x, 5.0))
        else:
            yield Call("by position", np.subtract, (dy, before), y=before)
            yield Call("by keyword", lambda dy, y: dy - y, (dy,), {"y": before}, y=before)
            yield Call("from x", np.subtract, (dy, x))

    case = Case("relu", "step", "default", dy, x, None, 0)
    found = {step.text: step.result().tolist() for step in ways(calls, case)}
    assert found == {
        "value, then by position": [5.0] * 3 + [-4.0] * 3,
        "value, then by keyword": [5.0] * 3 + [-4.0] * 3,
        "value, then from x": [5.0] * 3 + [0.0] * 3,
    }


def test_a_step_calls_both_each_time_and_keeps_nothing():
    alive, done = Counter(), []

    class Result:
        def __init__(self, what):
            done.append(what)
            alive[what] += 1
            alive["most"] = max(alive["most"], alive["value"])
            self.what = what

        def __del__(self):
            alive[self.what] -= 1

    def calls(case):
        yield Call("f", Result, (case.operation,))

    (step,) = ways(calls, Case("relu", "step", "default", None, None, None, 0))
    assert timing._timer(step, POINTS[0]).timeit(3) > 0
    assert done == ["value", "backward"] * 3
    assert alive == {"value": 0, "backward": 0, "most": 1}


@pytest.mark.parametrize("operation", ["value", "backward"])
def test_a_step_with_one_wrong_part_is_not_timed(operation):
    def calls(case):
        (call,) = NUMPY.calls(case)
        wrong = case.operation == operation
        yield dataclasses.replace(call, function=lambda *a: 1 + call.function(*a)) if wrong else call

    step = POINTS[0]._replace(operation="step")
    with pytest.raises(timing.NotMeasuredError, match="differ from ours"):
        timing.measure(dataclasses.replace(NUMPY, calls=calls), step, 0, 0)
    assert timing.measure(NUMPY, step, 0, 0).baseline_call == (
        "np.maximum(0., x), then dy * np.greater(x, 0.).astype(np.float32)"
    )


def test_a_step_moves_five_arrays():
    times = ((100.0,) * 7,)
    step = results.Measurement("numpy", POINTS[0]._replace(operation="step"), "f", "float32", times, times, times)
    assert step.fraction_of_copy == 2.5


def test_small_numbers_of_a_long_row_are_compared():
    case = timing.case_of(Point("softmax", "value", "default", "hot", "float32", 1, 50_000))
    y = ours(case).result()
    assert timing._equal(y, y * np.float32(1 + 1e-6), 2**-18, timing._near_zero(case, y, 2**-18))
    assert not timing._equal(y, y + np.float32(3e-6), 2**-18, timing._near_zero(case, y, 2**-18))


def test_rows_are_columns_of_the_table_and_their_pictures_show_squares():
    shown = made_up(0, points=[Point("softmax", "step", "default", "hot", "float32", *shape) for shape in ROWS])
    page = report.markdown(shown)
    assert "|  | 10 x 10 | 100 x 100 | 1000 x 1000 | 20 x 50000 | 100000 x 10 |" in page
    assert "| softmax step |" in page
    (line,) = (line for line in charts.draw(shown)["softmax-time"].axes[0].lines if line.get_label() == "rectifier")
    assert list(line.get_xdata()) == [100, 10_000, 1_000_000]


def test_the_library_does_not_import_the_benchmark():
    done = run_python("import sys, rectifier; print([name for name in sys.modules if 'rectifier.tools.bench' in name])")
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.usefixtures("short")
class TestCommand:
    """``rectifier bench``."""

    @pytest.fixture
    def short(self, monkeypatch):
        monkeypatch.setattr("rectifier.tools.bench.points.plan", lambda *_: [POINTS[0], POINTS[4], POINTS[5]])
        monkeypatch.setattr(runner, "run", functools.partial(runner.run, passes=1))

    def test_it_tells_what_it_found(self, run, tmp_path):
        code, out, err = run("bench", "--quick", "--threads", "1", "--rival", "numpy", "--output", tmp_path)
        assert code == 0
        for words in ("NumPy recipe", "value in place", "±", "No GPU", "one thread", str(tmp_path / "report.md")):
            assert words in out
        assert "pass 1 of 1" in err

    def test_json_is_alone_on_stdout(self, run, tmp_path):
        code, out, _ = run("bench", "--quick", "--json", "--rival", "numpy", "--output", tmp_path)
        assert code == 0
        found = json.loads(out)
        assert found["measurements"][0]["ours_nanoseconds"]
        assert (found["measurements"][0]["rival"], *found["rivals"]) == ("numpy", "numpy")  # as in files that are kept

    def test_the_table_fits_80_columns(self, run, tmp_path, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        large = tuple(
            dataclasses.replace(m, baseline="tensorflow-tape", point=m.point._replace(rows=10_000, columns=10_000))
            for m in change(made_up(0, baselines=("numpy",)), 1e6).measurements
        )
        results.save(
            dataclasses.replace(made_up(0), baselines={"tensorflow-tape": "tensorflow 2.21.0"}, measurements=large),
            tmp_path / "run.json",
        )
        out = run("bench", "--from", tmp_path / "run.json", "--output", tmp_path)[1]
        assert "10000x10000" in out
        assert "…" not in out

    def test_a_run_is_added_to_the_history(self, run, tmp_path):
        file = tmp_path / "history.json"
        for name, factor, day in (("old", 1, 1), ("new", 1.3, 2)):
            made = dataclasses.replace(made_up(0, factor, ALL), started=f"2027-01-0{day}T00:00:00+00:00")
            results.save(made, tmp_path / f"{name}.json")
            given = ("--from", tmp_path / f"{name}.json", "--output", tmp_path / "out", "--history", file)
            code, out, err = run("bench", *given)
            assert code == 0, err
            assert ("the first run of its kind" in out) == (factor == 1)
        assert "slower beyond noise" in out
        assert len(history.load(file)) == 2
        file.write_text("{}")
        code, out, err = run("bench", *given)
        assert (code, out) == (2, "")
        assert "history.json: not a file that rectifier bench --history wrote" in err

    def test_compare_ends_with_1_where_ours_is_slower(self, run, tmp_path):
        runs = {"old": made_up(0, 1, ALL), "same": made_up(1, 1, ALL), "slow": made_up(1, 1.3, ALL)}
        runs["elsewhere"] = dataclasses.replace(runs["slow"], machine={**runs["slow"].machine, "processor": "another"})
        for name, result in runs.items():
            results.save(result, tmp_path / f"{name}.json")
        code, out, _ = run("bench", "--compare", tmp_path / "old.json", tmp_path / "same.json")
        assert (code, out) == (0, f"No changes beyond noise at {len(POINTS)} points.\n")
        code, out, _ = run("bench", "--compare", tmp_path / "old.json", tmp_path / "slow.json")
        assert code == 1
        assert "x slower" in out
        code, out, _ = run("bench", "--compare", tmp_path / "old.json", tmp_path / "elsewhere.json")
        assert code == 0
        assert "x slower" in out
        assert "on different machines" in out
        code, out, _ = run("bench", "--json", "--compare", tmp_path / "slow.json", tmp_path / "old.json")
        assert code == 0
        assert all(change["factor"] < 1 for change in json.loads(out))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("nonsense",), "no function nonsense: there are "),
            (("--dtype", "int8"), "no dtype int8: there are "),
            (("geglu",), "no function geglu (did you mean gelu?): there are "),
            (("--distribution", "cauchy"), "no distribution cauchy: there are normal, normal2, "),
            (("--compare", "two.json", "other-x.json"), "different distributions: N(0, 1) and N(0, 2²)"),
            (("--rival", "nobody"), "no rival nobody: there are "),
            (("--from", "absent.json"), "absent.json: No such file"),
            (("--compare", "two.json", "two.json"), "no point in common with 3 rivals"),
            (("--from", "stranger.json"), "stranger.json: not a file that rectifier bench wrote"),
            (("--from", "other.json"), "other.json: not a file that rectifier bench wrote"),
            (("--compare", "other.json", "other.json"), "other.json: not a file that rectifier bench wrote"),
            (("--compare", "binary", "binary"), "binary: not a file that rectifier bench wrote"),
            (("--readme", "other.json"), "no <!-- bench -->"),
            (("--output", "other.json"), "other.json: Not a directory"),
        ],
    )
    def test_what_cannot_be_is_one_line(self, run, tmp_path, monkeypatch, arguments, words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(runner, "run", lambda *_, **__: pytest.fail("worked first"))
        Path("other.json").write_text('{"schema": "another"}')
        two = made_up(0, baselines=ALL[:2])
        results.save(two, Path("two.json"))
        results.save(of_distribution("normal2"), Path("other-x.json"))
        results.save(
            dataclasses.replace(two, measurements=(dataclasses.replace(two.measurements[0], baseline="nobody"),)),
            Path("stranger.json"),
        )
        Path("binary").write_bytes(b"\xff\xfe\x00")
        code, out, err = run("bench", *arguments)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert words in err

    def test_no_rival_at_all_is_one_line(self, run, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "numexpr", None)
        code, _, err = run("bench", "--rival", "numexpr", "--quick", "--output", tmp_path)
        assert code == 2
        assert "numexpr is not installed" in err

    def test_a_missing_package_is_one_line(self, run, monkeypatch):
        monkeypatch.setitem(sys.modules, "rich", None)
        code, _, err = run("bench")
        assert code == 2
        assert "pip install 'rectifier[bench]'" in err


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, 5, 100, 10_007])
def test_the_copy_that_is_the_limit_copies_what_is_asked_and_nothing_beside(kind, n):
    x, room = np.arange(n).astype(kind), np.full(n + 2, -1, kind)
    stream_copy(room[1 : n + 1], x)  # off the lines of the caches
    assert room.tolist() == [-1, *x.tolist(), -1]


def test_the_copy_that_is_the_limit_refuses_what_it_cannot_copy():
    x = np.zeros(10)
    for y, z in ((x[::2], x[:5]), (np.zeros(9), x), (np.zeros(10, "f4"), x), (x[1:], x[:-1])):
        with pytest.raises(ValueError, match="two contiguous arrays of one shape and dtype, apart"):
            stream_copy(y, z)
