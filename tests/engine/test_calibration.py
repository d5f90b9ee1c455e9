"""What large calls begin with on a machine, and what they learn from their own times."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest

from conftest import run_python, write
from rectifier import relu, settings
from rectifier.engine import calibration, limits, process
from rectifier.engine.runtime import layout, streaming, threads

MIB = 1 << 20


class Loop:
    """A loop's memory, and calls that take as long as they are told to."""

    def __init__(self, stream_from: int = 8 * MIB, least: int = 2 * MIB, most: int = 64 * MIB) -> None:
        self.clock = 0
        self.functions: dict[str, Callable[..., int]] = {}
        scope: dict[str, Any] = {**vars(streaming), "ticks": lambda: self.clock}
        for name in ("_class", "goes_past", "learn"):
            scope[name] = self.functions[name] = FunctionType(getattr(streaming, name).__code__, scope)
        self.plan, self.job = layout.LoopDescriptor.new(), layout.Job.new()
        self.engine = layout.Engine.new(stream_from=stream_from, learn_from=least, learn_to=most)

    def begin(self, size: int, job: layout.Job | None = None) -> int:
        job = job or self.job
        job.trial, job.total = layout.Way(0), size // 4
        past = self.functions["goes_past"](job, self.plan, self.engine, size)
        job.began = self.clock
        return past

    def call(self, size: int, through: int, past: int) -> int:
        """Make a call that takes one of two times; give its way."""
        way = self.begin(size)
        self.clock += past if way else through
        self.functions["learn"](self.job)
        return way

    def calls(self, number: int, size: int, through: int, past: int) -> list[int]:
        return [self.call(size, through, past) for _ in range(number)]


TRIAL = 2 * streaming.CALLS


@pytest.mark.parametrize("size", [4 * MIB, 16 * MIB])
@pytest.mark.parametrize("faster", [0, 1])
def test_the_way_that_is_faster_is_learned(size, faster):
    loop, expected = Loop(), size >= 8 * MIB
    times = (1000, 500) if faster else (500, 1000)
    assert loop.calls(streaming.FIRST, size, *times) == [expected] * streaming.FIRST
    assert loop.calls(TRIAL, size, *times) == [expected] * streaming.CALLS + [1 - expected] * streaming.CALLS
    assert loop.calls(streaming.SELDOM, size, *times) == [faster] * streaming.SELDOM


def test_the_first_call_of_a_way_in_a_trial_does_not_count():
    """It finds the caches as the other way left them."""
    loop = Loop()
    loop.calls(streaming.FIRST, 4 * MIB, 500, 1000)
    for step in range(TRIAL):
        loop.call(4 * MIB, 500, 1 if step == streaming.CALLS else 1000)
    assert loop.call(4 * MIB, 500, 1000) == 0


def test_after_a_change_the_next_trial_comes_soon():
    loop = Loop()
    loop.calls(20_000, 4 * MIB, 500, 1000)
    while not loop.call(4 * MIB, 1000, 500) or loop.job.trial:
        pass
    ways = loop.calls(streaming.SELDOM + streaming.CALLS, 4 * MIB, 1000, 500)
    assert ways.index(0) == streaming.SELDOM - 1 + streaming.CALLS


def test_a_call_beside_the_last_of_a_trial_goes_by_what_was_known_and_teaches_nothing():
    loop = Loop()
    loop.calls(streaming.FIRST + TRIAL - 1, 4 * MIB, 500, 1000)
    assert loop.begin(4 * MIB) == 1
    for _ in range(4):
        job = layout.Job.new()
        assert loop.begin(4 * MIB, job) == 0
        assert job.trial == 0


def test_a_trial_that_nobody_ends_is_begun_anew():
    """The thread in its last call may be another process's: a child has what the parent had learned."""
    loop = Loop()
    loop.calls(streaming.FIRST + TRIAL - 1, 4 * MIB, 500, 1000)
    loop.begin(4 * MIB)  # and no end
    loop.calls(streaming.LOST, 4 * MIB, 1000, 500)
    loop.calls(streaming.SELDOM + TRIAL, 4 * MIB, 1000, 500)
    assert loop.calls(4, 4 * MIB, 1000, 500) == [1] * 4


def test_a_way_that_is_hardly_faster_changes_nothing():
    loop = Loop()
    for _ in range(3000):
        way = loop.call(4 * MIB, 1000, 960)
        assert not way or loop.job.trial  # only in trials


def test_trials_become_seldom_and_cost_less_than_two_in_a_hundred():
    loop = Loop()
    ways = loop.calls(50_000, 4 * MIB, 1000, 2000)
    tried = [k for k, way in enumerate(ways) if way]
    gaps = [b - a for a, b in pairwise(tried) if b - a > 1]
    assert gaps == sorted(gaps)
    assert gaps[-1] == streaming.MOST_SELDOM + streaming.CALLS + 1
    assert sum(ways) / len(ways) < 0.005


def test_what_is_learned_is_forgotten_when_neighbours_come():
    """A quiet moment is not the truth: within some two trials, calls go by the times of now."""
    loop = Loop()
    loop.calls(20_000, 16 * MIB, 500, 1000)
    ways = loop.calls(3 * (streaming.MOST_SELDOM + TRIAL), 16 * MIB, 1000, 500)
    assert ways[-200:].count(1) >= 200 - streaming.CALLS
    ways = loop.calls(3 * (streaming.MOST_SELDOM + TRIAL), 16 * MIB, 500, 1000)
    assert ways[-200:].count(0) >= 200 - streaming.CALLS


def test_small_results_go_through_and_large_ones_past_without_a_trial():
    loop = Loop()
    assert set(loop.calls(2000, 2 * MIB - 4, 1000, 1)) == {0}
    assert set(loop.calls(2000, 64 * MIB, 1, 1000)) == {1}


def test_sizes_are_learned_apart():
    loop = Loop()
    for _ in range(100):
        loop.call(4 * MIB, 1000, 500)
        loop.call(16 * MIB, 500, 1000)
        loop.call(60 * MIB, 1000, 500)
    sizes = (4 * MIB, 16 * MIB, 60 * MIB)
    ways = [loop.plan.ways[streaming._class(size)].way for size in sizes]
    assert ways == [1, 0, 1]
    assert streaming._class(1 << 50) == layout.CLASSES - 1


def test_each_size_has_its_class_within_the_plan():
    classes = [streaming._class(1 << k) for k in range(16, 60)]
    assert classes == sorted(classes)
    assert set(classes) == set(range(layout.CLASSES))
    assert [streaming._class(size) for size in (2 * streaming.SMALLEST - 1, 2 * streaming.SMALLEST)] == [0, 1]
    assert layout.LoopDescriptor.fields["ways"].shape[0] == layout.CLASSES


def test_calls_of_several_threads_at_once_only_learn_less():
    """Whatever the order of beginnings and ends, each call has a way, and trials end."""
    random_ = random.Random(0)
    loop, running, ways = Loop(), [], []
    for _ in range(30_000):
        if running and random_.random() < 0.5:
            job, way = running.pop(random_.randrange(len(running)))
            loop.clock += 500 if way else 1000
            loop.functions["learn"](job)
        else:
            job = layout.Job.new()
            way = loop.begin(4 * MIB, job)
            assert way in (0, 1)
            running.append((job, way))
            ways.append(way)
    assert len(ways) > 10_000
    assert sum(ways[-2000:]) > 0  # it has not stopped trying, or has found the faster


@pytest.mark.skipif(sys.platform != "linux", reason="what is learned is the same, but the clock may be slow")
def test_compiled_calls_learn():
    x = np.ones(MIB, np.float32)
    out = np.empty_like(x)
    relu(x, out=out)
    words = process.words()
    loop = relu.methods["value"].loops["float32"]
    way = loop.plan.ways[streaming._class(x.nbytes)]
    nothing = dict.fromkeys(("left", "way", "uses"), 0)
    before = words.read("learn_from", "learn_to", "stream_from", "parallel_from")
    words.learn_from, words.learn_to, words.stream_from = MIB, 64 * MIB, 8 * MIB
    try:
        way.write(**nothing)
        relu(x, out=x)  # in place it never goes past them, and teaches nothing
        assert way.uses == 0
        for _ in range(streaming.FIRST + TRIAL):
            relu(x, out=out)
        mask = relu.with_mask(x)[1]
        from_mask = relu.methods["backward_from_mask"]
        for least in (words.parallel_from, 1 << 40):  # shared, and by one thread
            words.parallel_from = least
            for called, run in (
                (loop, lambda: relu(x, out=out)),
                (from_mask.loops["float32"], lambda: relu.backward(x, mask=mask, out=out)),
            ):
                learned = called.plan.ways[streaming._class(x.nbytes)]
                learned.write(**nothing)
                for _ in range(streaming.FIRST + TRIAL):
                    run()
                assert learned.left == learned.uses > 0
        kept, other = way.times[0], way.times[1]
        assert kept > 0
        assert other > 0
        assert way.left == way.uses
        assert way.uses in (streaming.SELDOM, 2 * streaming.SELDOM)
        assert way.way == (streaming.WORSE * other < streaming.BETTER * kept)
    finally:
        words.write(**before)


def machine(root: Path, own: str, last: str, processors: str, flags: str, *, online: str = "", cores: str = "0") -> str:
    """Write what Linux says of a machine's caches: which processors share the last, and which the second."""
    files = {"proc/cpuinfo": f"processor\t: 0\nflags\t\t: fpu sse2 {flags}\n"}
    files["sys/devices/system/cpu/online"] = online or processors
    caches = (("Data", "1", "32K", cores), ("Unified", "2", own, cores), ("Unified", "3", last, processors))
    for k, cache in enumerate(caches):
        for name, text in zip(("type", "level", "size", "shared_cpu_list"), cache, strict=True):
            files[f"sys/devices/system/cpu/cpu0/cache/index{k}/{name}"] = text
    return str(write(root, files))


def test_a_cache_shared_with_strangers_is_not_counted_on(tmp_path):
    """A cloud machine of two processors that reports a third level of 480 MiB."""
    root = machine(tmp_path, "2048K", "491520K", "0-1", "hypervisor")
    found = calibration.streaming(2, root)
    assert (found.least, found.from_bytes, found.most) == (8 * MIB, 32 * MIB, 960 * MIB)
    assert found.learns
    assert "480 MiB is not known" in found.reason


@pytest.mark.parametrize(("count", "share"), [(1, 4), (4, 16), (8, 32), (16, 32)])
def test_of_a_cache_whose_sharers_are_known_a_fair_share_is(tmp_path, count, share):
    root = machine(tmp_path, "512K", "32768K", "0-3,8-11", "ht")
    found = calibration.streaming(count, root)
    assert found.from_bytes == share * MIB
    assert f"the share of {min(count, 8)} processors in caches of 32 MiB, each of 8" in found.reason


@pytest.mark.parametrize(
    ("own", "last", "sharers", "online", "count", "share", "most"),
    [
        ("2048K", "107520K", "0-111", "0-111", 26, 107520 * 26 // 112 / 1024, 210),  # one cache of 105 MiB
        ("2048K", "107520K", "0-111", "0-111", 112, 105, 210),
        ("1024K", "32768K", "0-15", "0-127", 128, 256, 512),  # eight of 32
        ("1024K", "32768K", "0-15", "0-127", 16, 32, 512),
    ],
)
def test_many_processors_learn_as_well(tmp_path, own, last, sharers, online, count, share, most):
    root = machine(tmp_path, own, last, sharers, "ht", online=online, cores="0,1")
    found = calibration.streaming(count, root)
    assert abs(found.from_bytes - share * MIB) < 1024
    assert found.most == most * MIB
    assert found.least <= found.from_bytes < found.most
    assert found.least <= 2 * count * int(own[:-1]) * 512  # two processors share a second level


def test_more_threads_than_processors_have_no_larger_caches(tmp_path):
    root = machine(tmp_path, "512K", "32768K", "0-1", "hypervisor")
    assert calibration.streaming(64, root) == calibration.streaming(2, root)


def test_where_nothing_is_said_a_common_machine_is_expected(tmp_path):
    found = calibration.streaming(2, str(tmp_path))
    users = min(2, os.cpu_count() or 1)
    assert (found.least, found.from_bytes, found.most) == (users * MIB, 4 * users * MIB, 64 * MIB)


def test_a_machine_is_known_by_what_does_not_change(tmp_path):
    text = "processor\t: 0\nmodel name\t: Fast One\ncpu MHz\t\t: 2445.404\n\nprocessor\t: 1\nmodel name\t: Slow One\n"
    assert limits.model(str(write(tmp_path, {"proc/cpuinfo": text}))) == {"model name": "Fast One"}
    assert limits.model(str(tmp_path / "nowhere")) == {}
    assert calibration.identity() == calibration.identity.__wrapped__()


def test_settings_can_be_read_where_nothing_can_be_compiled():
    run = run_python(
        "import sys; sys.modules['llvmlite'] = sys.modules['numba'] = None\n"
        "from rectifier import settings\nprint(settings)"
    )
    assert "stream_bytes=None" in run.stdout, run.stderr


def test_no_more_is_counted_on_than_there_is(tmp_path):
    assert calibration.streaming(1, machine(tmp_path, "2048K", "4096K", "0", "hypervisor")).from_bytes == 4 * MIB


@pytest.mark.parametrize("own", ["256K", "65536K"])
def test_the_limits_are_in_order_on_any_machine(tmp_path, own):
    for last in ("1024K", "1048576K"):
        found = calibration.streaming(256, machine(tmp_path / last, own, last, "0", "hypervisor"))
        assert found.least <= found.from_bytes
        assert found.least <= found.most


def worth(gain: int, tries: int, helpers: int = 1, reached: int = 2000, least: int = 3000, most: int = 500_000) -> int:
    engine = layout.Engine.new(parallel_from=least, start_from=most, gain=gain, tries=tries, reached=reached)
    return threads.worth_sharing(engine, helpers)


def test_two_cores_share_from_eight_times_what_it_takes_to_reach_one():
    assert worth(2000, 1) == 16_000
    assert worth(2000, 1, reached=100) == 3000  # below are hardly two chunks


def test_two_hyperthreads_of_one_core_share_only_what_is_long():
    assert worth(1300, threads.TRIES_MOST) == 16_000 * 1300 // (276 * 2)
    assert worth(1030, threads.TRIES_MOST) == worth(900, threads.TRIES_MOST) == 500_000


def test_that_threads_are_no_cores_is_believed_only_after_several_tries():
    assert worth(1000, threads.TRIES_MOST - 1) == 16_000
    assert worth(30_000, threads.TRIES_MOST, helpers=63) > 16_000  # half of 64 are


def test_a_moment_in_which_helpers_are_hard_to_reach_does_not_end_sharing():
    assert worth(2000, 1, reached=2_000_000) == 500_000


def test_what_threads_do_together_is_measured_once_there_are_helpers():
    run = run_python(
        "import numpy as np, time\nfrom rectifier import relu, settings\n"
        "from rectifier.engine import process\nfrom rectifier.engine.runtime import layout\n"
        "x = np.ones(4_000_000, 'f4')\n"
        "for _ in range(400):\n"
        "    relu(x, out=x)\n"
        "    if settings.threads < 2 or process.words().gain: break\n"
        "    time.sleep(0.01)\n"
        "print(settings.threads < 2 or 500 < process.words().gain < 1100 * settings.threads)"
    )
    assert (run.stdout.strip(), run.stderr) == ("True", "")


TUNE = """
import json, sys
from rectifier import settings
from rectifier.tools import tune
from rectifier.engine import calibration, process; from rectifier.engine.runtime import layout
tune.LARGEST, tune.ROUNDS = 1 << 22, 2
stages = []
found = tune.tune(lambda stage, steps: stages.append([steps]) or (lambda: stages[-1].append(1)))
assert [len(done) - 1 for done in stages] == [done[0] for done in stages] != [], stages
assert {point.threads for point in found.points} == {1, settings.threads} == set(found.stream_from)
assert {point.operation for point in found.points} == {"value", "backward"}
assert all(point.through > 0 and point.past > 0 for point in found.points)
assert found.fetch_lines in found.fetch_seconds
assert found.not_kept == ""
assert process.streaming().reason.startswith("rectifier tune, 20")
print(json.dumps([process.streaming().from_bytes, found.fetch_lines, process.words().ahead]))
"""
AFTER = """
import json
import numpy as np
from rectifier import relu
from rectifier.engine import process; from rectifier.engine.runtime import layout
relu(np.zeros(3, "f4"))
print(json.dumps([process.streaming().from_bytes, process.words().ahead, process.words().tries]))
print(process.streaming().reason)
"""


def test_what_tune_finds_is_where_later_processes_begin(tmp_path):
    tuned = run_python(TUNE, RECTIFIER_STORE=str(tmp_path))
    assert tuned.stderr == ""
    start, lines, now = json.loads(tuned.stdout)
    assert now == lines
    after = run_python(AFTER, RECTIFIER_STORE=str(tmp_path)).stdout.splitlines()
    assert json.loads(after[0]) == [start, lines, 1 << 30]  # and nothing is compared again
    assert after[1].startswith("rectifier tune, 20")
    elsewhere = run_python(
        "from rectifier.engine import limits\nlimits.online = lambda root='/': 3\n" + AFTER,
        RECTIFIER_STORE=str(tmp_path),
    )
    assert "tune" not in elsewhere.stdout.splitlines()[1]  # another machine with the same home directory
    (note,) = tmp_path.glob("*.note")
    note.write_bytes(note.read_bytes()[:-1] + b" ")
    damaged = run_python(AFTER, RECTIFIER_STORE=str(tmp_path))
    assert "tune" not in damaged.stdout.splitlines()[1]


def test_what_tune_finds_counts_for_its_process_where_nothing_is_kept():
    run = run_python(TUNE.replace('== ""', "== 'switched off by RECTIFIER_STORE'"), RECTIFIER_STORE="")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("content", [b"", b"nonsense", b"{}", b'{"stream_from": {"1": "many"}}', b"[1]", b"null"])
def test_a_note_of_another_content_is_as_good_as_none(tmp_path, content):
    from rectifier.engine import store

    before = store.location()[0]
    try:
        settings.store = tmp_path
        assert store.write_note(calibration.NAME, calibration.identity(), content)
        calibration.forget()
        assert calibration.tuning() is None
        assert "tune" not in process.streaming().reason
    finally:
        settings.store = before


def test_a_store_that_is_set_later_is_asked(tmp_path):
    from rectifier.engine import store

    found = {
        "when": "2026-01-02",
        "threads": 99,
        "stream_from": {str(settings.threads): 3 * MIB},
        "fetch": 16,
        "gain": 9,
    }
    before = store.location()[0]
    words = process.words()
    try:
        settings.store = tmp_path
        store.write_note(calibration.NAME, calibration.identity(), json.dumps(found).encode())
        settings.store = None
        assert "tune" not in process.streaming().reason
        settings.store = tmp_path
        assert process.streaming().reason == "rectifier tune, 2026-01-02"
        assert words.stream_from == 3 * MIB
    finally:
        settings.store = before
    assert "2026-01-02" not in process.streaming().reason


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("RECTIFIER_ENGINE", "numpy", "compiled engine"), ("RECTIFIER_STREAM_BYTES", "1MiB", "stream_bytes is fixed")],
)
def test_where_there_is_nothing_to_choose_tune_says_why(variable, value, words):
    run = run_python("from rectifier.tools.tune import tune\ntune()", **{variable: value})
    assert run.returncode == 1
    assert f"RuntimeError: tune: {words}" in run.stderr or words in run.stderr


def test_a_limit_that_is_set_rules_and_nothing_is_learned():
    words, before = process.words(), settings.stream_bytes
    assert before is None
    try:
        settings.stream_bytes = 5 * MIB
        assert settings.stream_bytes == 5 * MIB
        assert words.stream_from == 5 * MIB
        assert words.learn_from == process.NEVER
        assert settings.reasons()["stream_bytes"] == (5 * MIB, "set in code")
        with process.one_thread():
            assert words.stream_from == 5 * MIB
        for wrong, error in ((-1, ValueError), ("1MiB", TypeError), (True, TypeError), (1.5, TypeError)):
            with pytest.raises(error, match="stream_bytes"):
                settings.stream_bytes = wrong
        assert settings.stream_bytes == 5 * MIB
    finally:
        settings.stream_bytes = None
    assert words.learn_from == calibration.streaming(settings.threads).least
    assert settings.stream_bytes is None


def test_the_environment_sets_the_limit_or_is_refused():
    code = "from rectifier import settings; print(settings.stream_bytes, settings.reasons()['stream_bytes'].reason)"
    assert run_python(code, RECTIFIER_STREAM_BYTES="3MiB").stdout.split() == [str(3 * MIB), "RECTIFIER_STREAM_BYTES"]
    unset = "from rectifier import settings; settings.stream_bytes = None; print(settings.stream_bytes)"
    assert run_python(unset, RECTIFIER_STREAM_BYTES="3MiB").stdout.strip() == "None"
    refused = run_python(code, RECTIFIER_STREAM_BYTES="many")
    assert "ValueError: RECTIFIER_STREAM_BYTES is 'many'; it takes a number of bytes" in refused.stderr
