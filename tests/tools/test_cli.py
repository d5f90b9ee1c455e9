"""The command line: what it writes where, and how it ends."""

import json
import signal
import subprocess
import sys

import pytest

import rectifier
from rectifier.tools import demo, machine


def keys(value):
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("command", ["demo", "info"])
def test_json_is_alone_on_stdout(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(command, "--json", *["--quick"] * (command == "demo"))
    assert code == 0
    assert json.loads(out)


def test_units_are_in_the_names_of_json(run, tmp_path):
    result = json.loads(run("demo", "--json", "--quick", "--output", tmp_path)[1])
    assert keys(result) >= {"microseconds", "seconds", "memory_bytes", "cache_bytes", "mask_bytes_per_step"}
    assert result["machine"]["engine"] in ("llvm", "numpy")


def test_the_demo_tells_what_it_found(run, tmp_path):
    code, out, err = run("demo", "--quick", "--output", tmp_path / "made" / "here")
    assert code == 0
    for words in ("Test accuracy: ", "Dead units", "masks of 1,024 bytes", "vs NumPy", "compiled", " thread"):
        assert words in out
    assert str(tmp_path / "made" / "here" / "timings.svg") in out
    assert "training" in err
    assert "training" not in out.splitlines()[0]


def test_what_looks_like_markup_in_a_path_stays(run, tmp_path):
    output = tmp_path / "[red]:smile:"
    assert str(output / "relu.png") in run("demo", "--quick", "--output", output)[1]


def test_the_table_fits_80_columns(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run_of = demo.run
    wide = {"microseconds": dict.fromkeys(("ours", "numpy", "numba"), 123456.0)}

    def with_large_numbers(*arguments, **keywords):
        result = run_of(*arguments, **keywords)
        timings = (demo.Timing(**{**vars(row), "shape": (4096, 4096), **wide}) for row in result.timings)
        return demo.Demo(**{**vars(result), "timings": tuple(timings)})

    monkeypatch.setattr(demo, "run", with_large_numbers)
    out = run("demo", "--quick", "--output", tmp_path)[1]
    assert "4096 x 4096" in out
    assert "…" not in out


def test_info_tells_what_decides_the_speed(run):
    code, out, _ = run("info")
    assert code == 0
    for words in (
        "SIMD",
        "caches",
        "threads",
        "uses up to",
        "pool",
        "store",
        "engine",
        "GPU",
        f"rectifier {rectifier.__version__}",
    ):
        assert words in out


def test_the_version_is_the_packages(run):
    assert run("--version") == (0, f"rectifier {rectifier.__version__}\n", "")


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_names_the_commands(run, arguments):
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    for command in ("demo", "bench", "verify", "info"):
        assert command in out
    assert "--quick" not in out


def test_without_a_command_it_says_what_to_try_first(run):
    code, out, _ = run()
    assert code == 0
    first = out[out.index("Try first:") :]
    assert [line.split()[1] for line in first.splitlines()[1:]] == ["info", "demo", "apply"]
    assert "Try first" not in run("--help")[1]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("demmo",), "demo"),
        (("verify", "rleu"), "did you mean relu?"),
        (("verify", "Gelu"), "did you mean gelu"),
        (("apply", "softmx", "x.npy", "y.npy"), "did you mean softmax"),
        (("bench", "--rival", "nmpy"), "did you mean numpy?"),
        (("verify", "relu", "--dtype", "flaot32"), "did you mean float32"),
        (("demo", "--outpt", "x"), "--output"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_name(run, arguments, meant):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert meant in err


def test_a_typo_in_python_is_answered_with_the_nearest_name():
    code = "import rectifier; rectifier.leaky_relo"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Did you mean: 'leaky_relu'?" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("--nonsense",), ("nonsense",), ("demo", "--output"), ("verify", "--processes", "0")]
)
def test_a_wrong_call_ends_with_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_info_names_the_gpus_and_what_found_them(run, monkeypatch):
    monkeypatch.setattr(machine, "_gpu", lambda: machine.Gpu(("Card 0", "Card 1"), "CuPy 14.2"))
    assert "Card 0, Card 1 (CuPy 14.2)" in run("info")[1]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_an_output_that_cannot_be_is_refused_before_any_work(run, monkeypatch, tmp_path, name):
    (tmp_path / "file").touch()
    monkeypatch.setattr(demo, "run", lambda *_, **__: pytest.fail("worked first"))
    code, out, err = run("demo", "--output", tmp_path / name)
    assert (code, out) == (2, "")
    assert err == f"rectifier demo: {tmp_path / name}: Not a directory\n"


def test_a_disk_that_fills_up_is_one_line(run, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo, "run", fail)
    code, _, err = run("demo", "--output", tmp_path)
    assert code == 2
    assert err.strip() == f"rectifier demo: {tmp_path}: No space left on device"


def test_ctrl_c_ends_with_130_and_no_word(tmp_path):
    program = f"""
import sys, time
from rectifier.tools import cli, demo
def run(*arguments, **keywords):
    print("working", flush=True)
    time.sleep(60)
demo.run = run
sys.argv = ["rectifier", "demo", "--output", {str(tmp_path)!r}]
cli.main()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err.strip()) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_the_library_imports_nothing_of_the_command_line():
    program = "import sys, rectifier; print(*sorted({'typer', 'rich', 'matplotlib', 'sklearn'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
