"""The benchmark: the whole path on tiny arrays, statistics on rounds that are made up, and no timing asserted."""

import dataclasses
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import test_cli
from conftest import run_python
from rectifier.bench import report, runner
from rectifier.bench.rivals import RIVALS, Call, Rival
from rectifier.catalogue import CATALOGUE

run = test_cli.run  # the fixture
ROOT = Path(__file__).parents[1]
NUMPY = next(rival for rival in RIVALS if rival.name == "numpy")
POINTS = [
    runner.Point("relu", direction, form, "hot", "float32", rows, 3)
    for rows in (2, 5)
    for direction, forms in runner.FORMS.items()
    for form in forms
] + [runner.Point("relu", "value", "default", "idle", "float32", 5, 3)]


@pytest.fixture(scope="module")
def tiny():
    return runner.run(POINTS, [NUMPY], seconds_per_point=0, first_uses=1)


def made_up(seed, factor=1.0, rivals=("numpy", "torch", "jax"), rounds=15, between=0.02):
    """Make a run whose ratios scatter by 2 % from process to process and by 4 % from round to round."""
    rng = np.random.default_rng(seed)
    measurements = []
    for rival in rivals:
        for k, point in enumerate(POINTS):
            ratio = (1.5 + k / 10) * math.exp(between * rng.standard_normal())
            ours = 100 * factor * np.exp(0.2 * rng.standard_normal(rounds))  # load, which both see
            theirs = ours / factor * ratio * np.exp(0.04 * rng.standard_normal(rounds))
            measurements.append(runner.Measurement(rival, point, "f(x)", "float32", *map(tuple, (ours, theirs, ours))))
    machine = runner.asdict(runner.describe()) | {"governor": None}
    versions = {rival: f"{rival} 1.0" for rival in rivals}
    return runner.Run("2026-01-01T00:00:00+00:00", 1.0, True, machine, versions, (), {}, tuple(measurements))


def test_each_point_is_measured_in_every_form(tiny):
    assert tiny.points() == sorted(POINTS, key=tiny.points().index)
    for measurement in tiny.measurements:
        assert len(measurement.ratios) >= runner.FEWEST_ROUNDS
        low, high = measurement.interval
        assert 0 < low <= measurement.times_faster <= high
        assert measurement.fraction_of_copy > 0
    assert tiny.rivals == {"numpy": f"numpy {np.__version__}"}
    assert tiny.skipped == ()


def test_first_use_is_measured(tiny):
    assert tiny.first_use.keys() == {"rectifier", "numpy"}
    assert all(value > 0 for figures in tiny.first_use.values() for value in figures.values())


def test_json_comes_back_as_it_was(tiny, tmp_path):
    runner.save(tiny, tmp_path / "run.json")
    assert runner.load(tmp_path / "run.json") == tiny
    assert list(tmp_path.iterdir()) == [tmp_path / "run.json"]


def test_everything_is_written(tiny, tmp_path):
    (tmp_path / "README.md").write_text(f"before\n{report.BEGIN}\nsomething else\n{report.END}\nafter\n")
    written = report.write_all(tiny, tmp_path, tmp_path / "README.md")
    names = [f"relu-{what}{suffix}" for what in ("time", "ratio", "copy") for suffix in (".svg", ".png")]
    assert [path.name for path in written] == ["run.json", *names, "index.html", "README.md"]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written}
    assert report.digest(tmp_path / "run.json") in (tmp_path / "relu-ratio.svg").read_text()
    page = (tmp_path / "index.html").read_text()
    assert page.count("<svg") == 3
    assert "prefers-color-scheme: dark" in page
    assert "<script" not in page
    assert "src=" not in page
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("before\n")
    assert readme.endswith("after\n")
    assert "something else" not in readme
    for name in names[1::2]:
        pixels = imread(tmp_path / name)
        assert pixels[..., 3].min() == 1
        assert pixels[..., :3].min() < 0.2


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="no <!-- bench -->"):
        report.put_section("nothing", "")


def test_the_readme_agrees_with_the_run_that_is_kept():
    kept = ROOT / "benchmarks" / "run.json"
    section = report.readme_section(runner.load(kept), "benchmarks/relu-ratio.svg")
    page = (ROOT / "README.md").read_text()
    assert report.put_section(page, section) == page
    assert report.digest(kept) in (ROOT / "benchmarks" / "relu-ratio.svg").read_text()


def test_runs_of_the_same_code_do_not_differ():
    for seed in range(20):
        assert not any(change.significant for change in report.compare(made_up(seed), made_up(seed + 100)))


@pytest.mark.parametrize("rivals", [("numpy",), ("numpy", "torch", "jax")])
@pytest.mark.parametrize("factor", [1.2, 1 / 1.2])
def test_a_fifth_is_found(rivals, factor):
    old, new = made_up(0, rivals=rivals, between=0.01), made_up(1, factor, rivals, between=0.01)
    changes = report.compare(old, new)
    found = [change for change in changes if change.significant]
    assert len(found) > (0.8 if len(rivals) > 1 else 0.3) * len(changes)
    assert all((change.factor > 1) == (factor > 1) for change in found)
    assert all(change.pairs == len(rivals) for change in changes)


def test_a_change_at_one_point_is_found_there_alone():
    new = made_up(1)
    slow = tuple(
        dataclasses.replace(m, ours_nanoseconds=tuple(1.25 * t for t in m.ours_nanoseconds))
        if m.point == POINTS[4]
        else m
        for m in new.measurements
    )
    changes = report.compare(made_up(0), dataclasses.replace(new, measurements=slow))
    assert [change.point for change in changes if change.significant] == [POINTS[4]]


def test_a_rival_that_changes_does_not_make_ours_change():
    new = made_up(1)
    slow = tuple(
        dataclasses.replace(m, rival_nanoseconds=tuple(2 * t for t in m.rival_nanoseconds)) if m.rival == "jax" else m
        for m in new.measurements
    )
    changes = report.compare(made_up(0), dataclasses.replace(new, measurements=slow))
    assert not any(change.significant for change in changes)


def test_other_versions_are_named():
    old = made_up(0)
    new = dataclasses.replace(old, rivals={**old.rivals, "jax": "jax 2.0"}, measurements=old.measurements[:-1])
    lines = report.differences(old, new)
    assert lines == ["jax: jax 1.0 then, jax 2.0 now", "1 measurements have no counterpart in the other file"]


@pytest.mark.parametrize("n", [7, 12, 25, 60])
def test_the_interval_holds_the_median_often_enough(n):
    rng = np.random.default_rng(n)
    intervals = [runner.interval_of_median(values) for values in np.exp(rng.standard_normal((2000, n)))]
    held = np.mean([low <= 1 <= high for low, high in intervals])
    assert 0.94 < held < 0.995


def test_verdicts_follow_the_interval():
    def against(*ratios):
        ours = (1.0,) * len(ratios)
        return runner.Measurement("numpy", POINTS[0], "f", "float32", ours, ratios, ours)

    assert against(*[1.2] * 7).verdict == "ours"
    assert against(*[0.8] * 7).verdict == "rival"
    noisy = against(0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.7)
    assert noisy.verdict == "undecided"
    assert not noisy.conclusive


def test_a_rival_that_wins_is_shown_winning():
    shown = made_up(0, factor=4.0)
    assert all(m.verdict == "rival" for m in shown.measurements)
    assert "**0." in report.markdown(
        dataclasses.replace(shown, measurements=tuple(_square(m) for m in shown.measurements))
    )
    assert f"slower at {len(POINTS)}" in " ".join(report.notes(shown))
    assert 'class="slower"' in report.page(shown, [])


def _square(measurement):
    return dataclasses.replace(measurement, point=measurement.point._replace(rows=10, columns=10))


def test_a_rival_that_is_not_installed_is_a_line():
    absent = Rival("absent", "Absent", "no_such_package", NUMPY.calls)
    result = runner.run(POINTS[:1], [absent], quick=True)
    assert result.skipped == ("Absent: no_such_package is not installed",)
    assert result.measurements == ()


def test_a_rival_whose_process_dies_is_a_line(monkeypatch, tmp_path):
    (tmp_path / "crysx_nn.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(tmp_path)
    (rival,) = (rival for rival in RIVALS if rival.name == "crysx_nn")
    assert runner.run(POINTS[:1], [rival], quick=True).skipped == (
        "crysx_nn: its process ended with status 1: ImportError: broken",
    )


def test_time_that_is_up_is_a_line(monkeypatch):
    monkeypatch.setattr(runner, "QUICK_SECONDS", 0)
    result = runner.run(POINTS, [NUMPY], quick=True)
    assert result.skipped == (f"NumPy recipe: no time left for {len(POINTS)} of {len(POINTS)} points",)


def test_results_that_differ_are_not_timed():
    wrong = Rival("wrong", "Wrong", "numpy", lambda case: iter([Call("wrong(x)", np.abs, (case.x,))]))
    with pytest.raises(runner.NotMeasuredError, match=r"the results of wrong\(x\) differ from ours"):
        runner.measure(wrong, POINTS[0], 0, 0)


def test_a_point_that_fails_is_a_line_and_the_next_is_measured(monkeypatch):
    def calls(case):
        if len(case.x) == 2:
            raise RuntimeError("not implemented\nfor this")
        return NUMPY.calls(case)

    monkeypatch.setattr(runner, "RIVALS", [dataclasses.replace(NUMPY, calls=calls)])
    said = []
    task = {"rival": "numpy", "points": [POINTS[0], POINTS[-1]], "seconds_per_point": 0, "seconds_per_block": 0}
    runner._pair(task | {"deadline": None}, said.append)
    assert said[1] == {"skipped": "relu value, float32, 2 x 3: RuntimeError: not implemented"}
    assert said[2]["measurement"]["point"] == POINTS[-1]


def test_what_a_rival_does_not_offer_is_no_row():
    with pytest.raises(runner.NotMeasuredError, match=r"^$"):
        runner.measure(Rival("none", "None", "numpy", lambda case: iter(())), POINTS[0], 0, 0)


@pytest.mark.parametrize("function", ["relu", "leaky_relu"])
def test_numpy_and_numba_offer_what_they_have(function):
    # Other rivals keep settings of the process, and warn; the runner checks their results before it times them.
    for rival in (rival for rival in RIVALS if rival.package in ("numpy", "numba") and rival.name != "numpy-zeros"):
        for direction in ("value", "derivative", "backward")[: 1 if rival.name == "product" else 3]:
            point = runner.Point(function, direction, "default", "hot", "float32", 2, 3)
            if (rival.name, function) != ("product", "leaky_relu"):
                assert runner.measure(rival, point, 0, 0).rival == rival.name


def test_the_plan_covers_the_recipe_and_the_decades():
    points = runner.plan(list(CATALOGUE))
    sizes = {point.elements for point in points}
    assert sizes >= {100, 900, 9_000_000} | {10**k for k in range(8)}
    assert {point.direction for point in points} == set(runner.FORMS)
    assert {point.form for point in points} == {"default", "out", "in_place", "slice"}
    assert {point.state for point in points} == {"hot", "idle"}
    assert len(points) == len(set(points))


def test_the_library_does_not_import_the_benchmark():
    done = run_python("import sys, rectifier; print([name for name in sys.modules if 'rectifier.bench' in name])")
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.usefixtures("short")
class TestCommand:
    """``rectifier bench``."""

    @pytest.fixture
    def short(self, monkeypatch):
        monkeypatch.setattr(runner, "plan", lambda *_: POINTS[:4])

    def test_it_tells_what_it_found(self, run, tmp_path):
        code, out, err = run("bench", "--quick", "--rival", "numpy", "--output", tmp_path)
        assert code == 0
        for words in ("NumPy recipe", "value in place", "±", "GPUs", " thread", str(tmp_path / "index.html")):
            assert words in out
        assert "NumPy recipe" in err

    def test_json_is_alone_on_stdout(self, run, tmp_path):
        code, out, _ = run("bench", "--quick", "--json", "--rival", "numpy", "--output", tmp_path)
        assert code == 0
        assert json.loads(out)["measurements"][0]["ours_nanoseconds"]

    def test_the_table_fits_80_columns(self, run, tmp_path, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        large = tuple(
            dataclasses.replace(
                m,
                rival="tensorflow-tape",
                point=m.point._replace(rows=10_000, columns=10_000),
                ours_nanoseconds=tuple(1e6 * t for t in m.ours_nanoseconds),
            )
            for m in made_up(0, rivals=("numpy",)).measurements
        )
        runner.save(
            dataclasses.replace(made_up(0), rivals={"tensorflow-tape": "tensorflow 2.21.0"}, measurements=large),
            tmp_path / "run.json",
        )
        out = run("bench", "--from", tmp_path / "run.json", "--output", tmp_path)[1]
        assert "10000x10000" in out
        assert "…" not in out

    def test_compare_ends_with_1_where_ours_is_slower(self, run, tmp_path):
        for name, result in (("old", made_up(0)), ("same", made_up(1)), ("slow", made_up(1, 1.2))):
            runner.save(result, tmp_path / f"{name}.json")
        code, out, _ = run("bench", "--compare", tmp_path / "old.json", tmp_path / "same.json")
        assert (code, out) == (0, f"No changes beyond noise at {len(POINTS)} points.\n")
        code, out, _ = run("bench", "--compare", tmp_path / "old.json", tmp_path / "slow.json")
        assert code == 1
        assert "x slower" in out
        code, out, _ = run("bench", "--json", "--compare", tmp_path / "slow.json", tmp_path / "old.json")
        assert code == 0
        assert all(change["factor"] < 1 for change in json.loads(out))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("nonsense",), "no function nonsense: there are "),
            (("--dtype", "int8"), "no dtype int8: there are "),
            (("--rival", "nobody"), "no rival nobody: there are "),
            (("--from", "absent.json"), "absent.json: No such file"),
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
