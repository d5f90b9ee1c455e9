"""What the demo computes: a network that learns, and ratios that are honest."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from rectifier.tools import demo, digits
from rectifier.tools.bench import recipe
from rectifier.tools.bench.timing import NotMeasuredError
from rectifier.tools.machine import describe


def timing(**changes):
    given = {
        "call": "value",
        "shape": (32, 64),
        "rounds": 3,
        "microseconds": {"ours": 2.0, "numpy": 1.5, "numba": 12345.6},
        "times_faster": {"numpy": 0.75, "numba": 6172.8},
        "dtypes": {"ours": "float32", "numpy": "float32", "numba": "float64"},
    }
    return demo.Timing(**given | changes)


@pytest.fixture(scope="module")
def training():
    return demo.train()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo")
    stages = {}

    def start(stage, steps):
        stages[stage] = (steps, [])
        return lambda: stages[stage][1].append(1)

    return demo.run(output, epochs=1, shapes=((4, 8), (3, 5)), seconds_per_row=0, start=start), output, stages


def test_the_network_learns_to_read_digits(training):
    assert training.test_accuracy > 0.95


def test_no_test_sample_is_trained_on(training):
    assert training.training_samples + training.test_samples == 1797


def test_the_digits_are_those_of_scikit_learn(monkeypatch):
    from sklearn.datasets import load_digits

    images, labels = digits.load()
    given = load_digits()
    assert np.array_equal(16 * images, given.data.astype(np.float32))
    assert np.array_equal(labels, given.target)
    monkeypatch.setattr(digits.Path, "is_file", lambda path: False)  # of another version of scikit-learn
    assert all(map(np.array_equal, digits.load(), (images, labels)))


def test_the_split_takes_the_same_part_of_each_label():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    train, test = digits.split(labels, 0.2, np.random.default_rng(0))
    assert np.bincount(labels[test]).tolist() == [10, 6, 4]
    assert sorted([*train, *test]) == list(range(100))


def test_masks_take_a_32nd_of_what_x_would(training):
    assert training.x_bytes_per_step == 32 * training.mask_bytes_per_step == 32 * sum(training.widths[1:-1]) * 4


def test_training_repeats_itself():
    assert demo.train(epochs=2, hidden=(8,)) == demo.train(epochs=2, hidden=(8,))


def test_a_unit_that_no_sample_turns_on_is_dead(monkeypatch):
    layer = demo._layer
    before = demo.train(epochs=0, hidden=(32,))

    def with_a_dead_unit(rng, fan_in, fan_out):
        made = layer(rng, fan_in, fan_out)
        made.b[0] = -1e6
        return made

    monkeypatch.setattr(demo, "_layer", with_a_dead_unit)
    after = demo.train(epochs=0, hidden=(32,))
    assert after.dead_units == before.dead_units + 1
    assert after.hidden_units == 32


def test_each_call_is_timed_on_each_shape(tiny):
    pytest.importorskip("numba")
    result, _, _ = tiny
    assert [(row.call, row.shape) for row in result.timings] == [
        (call, shape) for shape in ((4, 8), (3, 5)) for call in ("value", "derivative", "backward")
    ]
    for row in result.timings:
        assert row.microseconds.keys() == row.dtypes.keys() == {"ours", "numpy", "numba"}
        assert row.times_faster.keys() == {"numpy", "numba"}
        assert min(*row.microseconds.values(), *row.times_faster.values()) > 0
        assert row.dtypes["ours"] == "float32"


def test_every_step_of_every_stage_is_reported(tiny):
    _, _, stages = tiny
    assert {stage: len(done) for stage, (_, done) in stages.items()} == {"training": 1, "timing": 6}
    assert all(len(done) == steps for steps, done in stages.values())


def test_results_that_differ_are_not_timed(monkeypatch):
    monkeypatch.setitem(recipe.NUMPY, ("relu", "backward"), "dy + 0 * x")
    with pytest.raises(NotMeasuredError, match="differ from ours"):
        list(demo.time_calls(((4, 4),), seconds_per_row=0))


def test_where_numba_is_missing_its_column_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    (row, *_) = demo.time_calls(((4, 4),), seconds_per_row=0)
    assert demo.rows([row])[0][3] == demo.rows([row])[0][6] == "none"


def test_a_ratio_below_one_is_shown_as_it_is():
    (cells,) = demo.rows([timing()])
    assert cells == ("value", "32 x 64", "1.50", "12,346", "2.00", "0.75x", "6172.80x")
    assert [demo.ours_is_slower(cell) for cell in cells] == [None] * 5 + [True, False]
    assert "Ours is slower in 1 of 2 comparisons." in demo.notes([timing()], describe())


def test_the_notes_tell_the_engine_the_thread_and_other_dtypes():
    here = dataclasses.replace(describe(), engine="llvm", engine_reason="default")
    text = " ".join(demo.notes([timing()], here))
    assert " thread" in text
    assert "ours is compiled" in text
    assert "the recipe's value with Numba is float64, ours float32" in text


def test_the_notes_tell_where_ours_is_not_compiled():
    here = dataclasses.replace(describe(), engine="numpy", engine_reason="RECTIFIER_ENGINE=numpy")
    assert (
        "interpreted by NumPy, not compiled (engine numpy: RECTIFIER_ENGINE=numpy)" in demo.notes([timing()], here)[0]
    )


def test_rows_come_call_by_call():
    timings = [timing(call=call, shape=shape) for shape in ((1, 1), (2, 2)) for call in ("backward", "value")]
    assert [row[:2] for row in demo.rows(timings)] == [
        ("value", "1 x 1"), ("value", "2 x 2"), ("backward", "1 x 1"), ("backward", "2 x 2"),
    ]  # fmt: skip


def test_two_pictures_come_as_svg_and_png_and_nothing_else(tiny):
    result, output, _ = tiny
    names = ["relu.png", "relu.svg", "timings.png", "timings.svg"]
    assert sorted(path.name for path in output.iterdir()) == names
    assert sorted(Path(path).name for path in result.pictures) == names


@pytest.mark.parametrize("name", ["relu.png", "timings.png"])
def test_pictures_are_opaque_and_not_blank(tiny, name):
    pixels = imread(tiny[1] / name)
    assert pixels[..., 3].min() == 1
    assert pixels[0, 0, :3].min() == 1
    assert pixels[..., :3].min() < 0.2


def test_no_text_leaves_its_picture(tiny):
    for figure in (demo.draw_function(), demo.draw_timings([timing()], describe())):
        figure.savefig(tiny[1].parent / "drawn.png")
        for axes in figure.axes:
            for text in axes.texts:
                box = text.get_window_extent()
                assert figure.bbox.contains(box.x0, box.y0), text
                assert figure.bbox.contains(box.x1, box.y1), text


def test_an_svg_repeats_itself(tmp_path):
    first, second = (
        next(demo.save_figure(demo.draw_timings([timing()], describe()), tmp_path / name)).read_bytes() for name in "ab"
    )
    assert first == second
    assert b"dc:date" not in first


def test_a_write_that_fails_leaves_the_old_picture(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    old = tmp_path / "relu.svg"
    old.write_text("old")
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        list(demo.save_figure(demo.draw_function(), tmp_path / "relu"))
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]
