"""What `rectifier verify` finds, and that it finds what is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from rectifier import elementwise, gated, relu, rowwise, silu, softmax, tanh, testing
from rectifier.catalogue import ALL, CATALOGUE, GATES, REDUCTIONS, ROWWISE
from rectifier.formulas import T, exp, where
from rectifier.functions.dtypes import FORMATS
from rectifier.tools import verify
from rectifier.tools.documents import put_section
from rectifier.tools.verify import inputs, multi_input, places, report, results, single_input, truth, verification

ROOT = Path(__file__).parents[2]
FEW = {"float32": 1 << 12, "float64": 60}


@elementwise(exact=lambda m, x: m.exp(x), special=((math.inf, math.inf),), ulp=(0.6, 2, 0.6, 2), wide=True)
def crooked(x):
    """Compute exp(x), but the square of it in an interval where float32 has but 2^23 numbers."""
    return where((x >= T(1)) & (x < T(2)), exp(x + x), exp(x))


@crooked.derivative
def crooked_derivative(x):
    return exp(x)


@elementwise(exact=lambda m, x: x, special=((math.inf, math.inf), (-math.inf, -math.inf)), ulp=(600.0, 2.0, 600.0, 2.0))
def serrated(x):
    """Return x, and two units more at every second float16 between 1 and 2: within the bound, but out of order."""
    odd = (x * T(512)) - ((x * T(512) + T(8388608)) - T(8388608))
    return where((x > T(1)) & (x < T(2)) & (odd != T(0)), x + T(2 / 1024), x)


@serrated.derivative
def serrated_derivative(x):
    return where(x == x, T(1), x)


@pytest.fixture
def run(command_line, monkeypatch):
    """Run ``rectifier verify`` with arguments, few points and no other process: exit status, stdout, stderr."""
    quick = verify.verify
    monkeypatch.setattr(
        verify, "verify", lambda *args, **kwargs: quick(*args, **kwargs | {"processes": 1, "points": FEW})
    )
    return lambda *arguments: command_line("verify", *arguments)


def test_bounds_hold_in_every_dtype():
    stages = verify.verify([relu, silu], points=FEW, processes=1)
    assert [(stage.function, stage.dtype) for stage in stages] == [
        (f, d) for f in ("relu", "silu") for d in verify.DTYPES
    ]
    for stage in stages:
        assert stage.holds, report.broken([stage])
        for operation in verify.OPERATIONS:
            tally = stage.row(operation).tally
            assert tally.points >= 60
            assert tally.correctly_rounded <= tally.within_1_ulp <= tally.points
            assert tally.out_of_order == 0


@pytest.fixture
def few_pairs_and_rows(monkeypatch):
    monkeypatch.setattr(multi_input, "PAIRS", {})
    monkeypatch.setattr(multi_input, "MORE_PAIRS", 50)
    monkeypatch.setattr(multi_input, "ROW_ELEMENTS", 20)
    monkeypatch.setattr(multi_input, "LENGTHS", (1, 2, 10))


@pytest.mark.parametrize("name", [*GATES, *ROWWISE, *REDUCTIONS])
def test_bounds_hold_of_pairs_and_rows(few_pairs_and_rows, name):
    function = ALL[name]
    stages = verify.verify([function], processes=1)
    assert [stage.dtype for stage in stages] == list(verify.DTYPES)
    for stage in stages:
        assert stage.holds, report.broken([stage])
        assert {row.operation for row in stage.rows} == set(multi_input.operations(function.spec))
        assert all(row.tally.points > (60 if name in REDUCTIONS else 100) for row in stage.rows)


@gated(exact=lambda m, x, gate: x * gate, ulp=0)
def crooked_pairs(x, gate):
    """Multiply, but not beyond 2."""
    return where(x > T(2), x, x * gate)


@crooked_pairs.gradient
def crooked_pairs_gradient(x, gate):
    return gate, where(gate < T(-1), T(3), x)


@rowwise(exact=softmax.spec.exact, ulp=(0.6, 4))
def crooked_rows(x, peak, e, rest):
    """Forget the peak itself."""
    return e * (T(1) / (T(0.9) + rest))


crooked_rows.weight(softmax.spec.weight)
crooked_rows.backward(softmax.spec.backward)


def test_wrong_pairs_and_rows_break_their_bounds(few_pairs_and_rows):
    found = {}
    for stage in verify.verify([crooked_pairs, crooked_rows], ["float32"], processes=1):
        found |= {(stage.function, row.operation): row.holds for row in stage.rows if row.source == verify.OURS}
    assert found == {
        ("crooked_pairs", "value"): False,
        ("crooked_pairs", "dx"): True,
        ("crooked_pairs", "dgate"): False,
        ("crooked_rows", "value"): False,
        ("crooked_rows", "backward"): True,
    }


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16"])
def test_a_wrong_formula_breaks_its_bound(name):
    [stage] = verify.verify([crooked], [name], points=FEW, processes=1)
    assert not stage.holds
    row = stage.row("value")
    assert not row.holds
    assert 1 <= float(row.tally.at) < 2
    assert row.tally.worst_ulp > 100
    assert stage.row("derivative").holds
    assert "value" in report.broken([stage])[0]


def test_neighbours_out_of_order_are_found():
    [stage] = verify.verify([serrated], ["float16"], processes=1)
    tally = stage.row("value").tally
    assert stage.holds
    assert tally.out_of_order == 511
    assert 1 < float(tally.at) < 2
    assert 1 < float(tally.out_of_order_at) < 2
    assert stage.row("derivative").tally.out_of_order == 0


def test_the_float32_task_of_an_exhaustive_run_takes_all_its_inputs():
    ranks = range(0xBF800000 - 5000, 0xBF800000 + 5000)  # around 1
    found = single_input.check(single_input.Task(silu, "float32", ranks, None, (verify.OURS,)))
    x = inputs.ranked(np.dtype("f4"), np.arange(ranks.start, ranks.stop))
    assert {tally.points for tally in found.values()} == {10_000}
    errors = testing.ulps(silu(x), testing.exact_arrays(silu.spec, x, [1.0])[0], x.dtype)
    tally = found["value", verify.OURS]
    assert abs(tally.worst_ulp - errors.max()) < 2e-5
    assert tally.correctly_rounded == (errors <= 0.5).sum()
    whole = verification._tasks(silu, "float32", True, FEW)
    assert sum(len(task.ranks) for task in whole if task.among is None) == 1 << 32


@elementwise(exact=lambda m, x: x + m.exp(-(x - 5005) * (x - 5005)), special=(), ulp=1)
def far_off(x):
    """Return x, where the truth leaves it once, far out."""
    return x


@far_off.derivative
def far_off_derivative(x):
    return T(1)


@pytest.mark.parametrize(("least", "most"), [(2.0**-40, 2.0**-38), (2.0**12, 2.0**13), (-(2.0**-38), -(2.0**-40))])
def test_what_is_checked_by_its_ends_gets_the_tally_of_all(least, most, monkeypatch):
    first, last = (int(inputs.rank(np.array([end], np.float32))[0]) for end in (least, most))
    task = single_input.Task(silu, "float32", range(first, first + (1 << 19)), None, (verify.OURS,))
    assert first + (1 << 19) <= last
    assert single_input._by_ends(task, inputs.ranked(np.dtype("f4"), np.arange(first, first + (1 << 19))), {})
    by_ends = single_input.check(task)
    monkeypatch.setattr(single_input, "_by_ends", lambda *_: False)
    for key, tally in single_input.check(task).items():
        found = by_ends[key]
        assert abs(found.worst_ulp - tally.worst_ulp) < 2e-5
        for field in ("points", "correctly_rounded", "within_1_ulp", "out_of_order"):
            assert getattr(found, field) == getattr(tally, field), field


def test_only_functions_of_the_catalogue_are_checked_by_their_ends():
    first = int(inputs.rank(np.array([4096], np.float32))[0])
    task = single_input.Task(far_off, "float32", range(first, first + (1 << 23)), None, (verify.OURS,))
    x = inputs.ranked(np.dtype("f4"), np.arange(first, first + 64))
    assert not single_input._by_ends(task, x, {})
    own = single_input.Task(silu, "float32", task.ranks, None, (verify.OURS,))
    assert single_input._by_ends(own, x, {})
    tiny = inputs.ranked(np.dtype("f4"), np.arange(2**31 - 9, 2**31 + 9))
    assert not single_input._by_ends(own, tiny, {})
    assert not single_input._by_ends(own, -x[::-1] * np.float32(np.inf), {})


def test_a_digest_names_what_a_kernel_does_with_an_element():
    def made(factor, **fields):
        function = elementwise(exact=lambda m, x: 2 * x, special=(), ulp=1, **fields)(factor)
        function.derivative(lambda x: T(2))
        return function.spec

    def of_the_same(x):
        y = x
        return y + x

    twice, again = made(lambda x: x + x), made(of_the_same)
    assert verification.digest(twice, "float32") == verification.digest(again, "float32")
    others = made(lambda x: T(2) * x), made(lambda x: x + x, zeros=(1.0,)), made(lambda x: x + x, wide=True)
    digests = {verification.digest(spec, "float32") for spec in (twice, *others)}
    assert len(digests) == 4
    assert verification.digest(twice, "float64") not in digests


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_ranks_are_the_order_of_the_numbers(name):
    dtype = np.dtype(name)
    x = np.sort(np.unique(testing.special_values(dtype)[~np.isnan(testing.special_values(dtype))]))
    ranks = inputs.rank(x)
    assert (ranks[1:] > ranks[:-1]).all()
    assert inputs.ranked(dtype, ranks).tobytes() == x.tobytes()


@pytest.mark.parametrize("name", CATALOGUE)
def test_float64_truth_agrees_with_mpmath(name):
    assert truth.truth_error(CATALOGUE[name], "float32", samples=40) < 1e-5


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32"])
def test_quick_errors_are_those_of_testing(name):
    dtype, random = testing.dtype_of(name), np.random.default_rng(0)
    bits, smallest = FORMATS[name].significand, FORMATS[name].smallest
    truth = random.standard_normal(3000) * 2.0 ** random.integers(smallest - 3, 2 - smallest - bits, 3000)
    truth = np.concatenate([truth, testing.special_values(dtype).astype(np.float64)])
    with np.errstate(all="ignore"):
        for off in (1.0, 1 + 2.0**-bits, 1.5, -1.0, math.inf, math.nan):
            result = (truth * off).astype(dtype)
            quick = single_input.quick_errors(result.astype(np.float64), truth, dtype)
            assert np.array_equal(quick, testing.ulps(result, truth.astype(np.longdouble), dtype))


def test_what_is_kept_is_not_found_again(tmp_path):
    path, worked = tmp_path / "verify.json", []
    settings = {"points": FEW, "processes": 1, "start": lambda stage, _: (worked.append(stage), lambda done: None)[1]}
    keep = lambda stages: report.save(stages, path)  # noqa: E731
    first = verify.verify([tanh], ["float32"], keep=keep, **settings)
    assert report.load(path) == first
    both = verify.verify([tanh, relu], ["float32"], kept=report.load(path), **settings)
    assert worked == ["tanh float32", "relu float32"]
    assert both[0] == first[0]
    stale = [dataclasses.replace(first[0], digest="of other code")]
    verify.verify([tanh], ["float32"], kept=stale, **settings)
    assert worked[2:] == ["tanh float32"]


def test_what_is_no_result_is_refused(tmp_path):
    path = tmp_path / "verify.json"
    for text in ("", "{}", '{"schema": 0, "stages": []}', f'{{"schema": {results.SCHEMA}, "stages": [{{}}]}}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="not a file that rectifier verify wrote"):
            report.load(path)


def test_processes_find_what_one_finds():
    [here] = verify.verify([relu], ["float16"], processes=1)
    [there] = verify.verify([relu], ["float16"], processes=2)
    assert there.rows == here.rows


def test_the_command_writes_a_table_or_json(run, tmp_path):
    code, out, err = run("tanh", "relu", "--dtype", "float32", "--output", tmp_path)
    assert code == 0
    for words in ("tanh", "derivative", "backward", "bound", "long doubles"):
        assert words in out
    assert "relu float32" in err
    code, out, _ = run("--from", tmp_path / "verify.json", "--json")
    assert code == 0
    stages = json.loads(out)
    assert [stage["function"] for stage in stages] == ["tanh", "relu"]
    row = stages[0]["rows"][0]
    assert {
        "operation",
        "source",
        "worst_ulp",
        "at",
        "bound",
        "holds",
        "correctly_rounded",
        "out_of_order",
    } <= row.keys()
    assert json.loads((tmp_path / "verify.json").read_text())["stages"] == stages


def test_the_command_writes_a_section_of_a_page(run, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    assert run("tanh", "--dtype", "bfloat16", "--output", tmp_path, "--readme", page)[0] == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "| tanh | value |" in text
    assert "old" not in text
    page.write_text("no markers")
    code, _, err = run("tanh", "--output", tmp_path, "--readme", page)
    assert (code, err.count("\n")) == (2, 1)


def test_a_broken_bound_ends_with_1(run, tmp_path, monkeypatch):
    monkeypatch.setattr("rectifier.catalogue.ALL", {"crooked": crooked})
    code, out, _ = run("--dtype", "float32", "--output", tmp_path)
    assert code == 1
    assert "Broken: " in out


@pytest.mark.parametrize("wrong", [("selfless",), ("relu", "--dtype", "float8")])
def test_unknown_names_are_one_line_with_the_choices(run, wrong):
    code, out, err = run(*wrong)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"no {'dtype' if len(wrong) > 1 else 'function'} {wrong[-1]}" in err
    assert ": there are " in err
    assert ("bfloat16" if len(wrong) > 1 else "softplus") in err


def test_errors_by_place_are_found_where_they_are(tmp_path):
    found = places.errors(silu, pieces=16, sample=64)
    assert {len(errors) for errors in found.values()} == {16}
    assert 0 < max(found["value"]) <= 1
    places.save({"silu": found}, tmp_path / "errors.json")
    assert places.load(tmp_path / "errors.json") == {"silu": found}

    def wrong(x):
        return np.where(x > 1, np.nextafter(silu(x), np.float32(0)), silu(x))

    wrong.spec, wrong.derivative = silu.spec, silu.derivative
    off = places.errors(wrong, pieces=16, sample=64)
    assert min(off["value"][12:15]) >= 0.99
    assert off["value"][:7] == found["value"][:7]


def test_the_kept_errors_are_within_the_bounds():
    kept = places.load(ROOT / "benchmarks" / "errors.json")
    assert len(kept) > 10
    for name, errors in kept.items():
        assert max(errors["value"]) <= ALL[name].spec.ulp.float32
        assert max(errors["derivative"]) <= ALL[name].spec.ulp.float32_derivative


def test_the_page_agrees_with_the_run_that_is_kept():
    stages = report.load(ROOT / "benchmarks" / "verify.json")
    assert {stage.function for stage in stages} == set(ALL)
    assert all(stage.holds for stage in stages)
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert put_section(page, report.markdown(stages), report.BEGIN, report.END) == page
