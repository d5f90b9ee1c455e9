"""``rectifier apply``: files in and out, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import zipfile

import h5py
import numpy as np
import pytest
import zarr

import rectifier
from conftest import assert_same, numbers
from outcomes import refused
from rectifier.tools import apply
from rectifier.tools.apply import boxes, files, layout
from rectifier.tools.apply import watch as watch_module

SHAPE = (30, 20)
X = numbers(600, np.dtype("f4")).reshape(SHAPE)
SUFFIXES = (".npy", ".npz", ".h5", ".zarr")


@pytest.fixture
def run(applied):
    return applied


def save(path, array, chunks=None):
    """Write an array as its users would."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, x=array)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            settings = {"chunks": chunks or (7, 20), "compression": "gzip"} if array.ndim else {}
            file.create_dataset("group/x", data=array, **settings).attrs["unit"] = "volt"
    else:
        zarr.create_array(path, data=array, chunks=chunks or "auto", attributes={"unit": "volt"})
    return path


def load(path):
    """Read what was written, by its own library."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        with np.load(path) as file:
            (name,) = file.files
            return file[name]
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            names = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            (name,) = names
            return file[name][()]
    return zarr.open_array(path, mode="r")[...]


def left(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_each_format_becomes_each(run, tmp_path, source, target):
    x = save(tmp_path / f"x{source}", X)
    y = tmp_path / f"y{target}"
    code, out, _ = run("relu", x, y)
    assert code == 0
    assert "30 x 20 of float32" in out
    assert_same(load(y), rectifier.relu(X))
    assert left(tmp_path) == sorted([x.name, y.name])


CASES = {
    "relu": ([], lambda x, dy: rectifier.relu(x)),
    "leaky_relu": (["--negative-slope", "0.25"], lambda x, dy: rectifier.leaky_relu(x, negative_slope=0.25)),
    "threshold": (["--threshold", "1", "--value", "2"], lambda x, dy: rectifier.threshold(x, threshold=1, value=2)),
    "gelu": (["--derivative"], lambda x, dy: rectifier.gelu.derivative(x)),
    "silu": (["--backward", "dy.npy"], lambda x, dy: rectifier.silu.backward(dy, x)),
    "glu": (["--gate", "dy.npy"], lambda x, dy: rectifier.glu(x, dy)),
    "softmax": (["--axis", "0"], lambda x, dy: rectifier.softmax(x, axis=0)),
    "log_softmax": (["--backward", "dy.npy"], lambda x, dy: rectifier.log_softmax.backward(dy, x)),
}


@pytest.mark.parametrize("function", CASES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("piece", [64, 4096])
def test_each_kind_of_function_gives_the_bits_of_the_call(run, tmp_path, monkeypatch, function, order, piece):
    monkeypatch.setattr(boxes, "PIECE", piece)
    arguments, call = CASES[function]
    dy = numbers(1200, np.dtype("f4"))[600:].reshape(SHAPE)
    np.save("dy.npy", dy)
    np.save("x.npy", np.asarray(X, order=order))
    code, _, err = run(function, "x.npy", "y.npy", *arguments)
    assert code == 0, err
    with np.errstate(all="ignore"):
        assert_same(np.load("y.npy"), call(X, dy))
    assert np.load("y.npy").flags.f_contiguous == (order == "F")


@pytest.mark.parametrize("kind", ["f2", "f8", ">f4", "i1", "<u4", ">i8"])
@pytest.mark.parametrize("function", ["relu", "tanh"])
def test_dtypes_are_those_of_the_call(run, kind, function):
    x = np.arange(-20, 20).astype(kind)
    np.save("x.npy", x)
    assert run(function, "x.npy", "y.npy")[0] == 0
    assert_same(np.load("y.npy"), getattr(rectifier, function)(x))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 4, 5)])
def test_shapes(run, tmp_path, suffix, shape):
    if suffix == ".h5" and 0 in shape:
        with h5py.File("x.h5", "w") as file:
            file["x"] = np.zeros(shape, "f4")
    else:
        elements = np.arange(120, dtype="f4")[: int(np.prod(shape))].reshape(shape) - 3
        chunks = tuple(max(side, 1) for side in shape) or None  # no chunk has no elements
        save(tmp_path / f"x{suffix}", elements, chunks)
    code, _, err = run("relu", f"x{suffix}", f"y{suffix}")
    assert code == 0, err
    x = load(tmp_path / f"x{suffix}")
    assert_same(load(tmp_path / f"y{suffix}"), np.maximum(x, np.float32(0)))


def test_chunks_compression_names_and_attributes_are_kept(run, tmp_path):
    save(tmp_path / "x.h5", X, (7, 5))
    assert run("relu", "x.h5", "y.h5")[0] == 0
    with h5py.File("y.h5") as file:
        y = file["group/x"]
        assert (y.chunks, y.compression, y.attrs["unit"]) == ((7, 5), "gzip", "volt")
    save(tmp_path / "x.zarr", X, (7, 5))
    assert run("relu", "x.zarr", "y.zarr")[0] == 0
    y = zarr.open_array("y.zarr")
    assert (y.chunks, y.attrs["unit"], y.metadata.zarr_format) == ((7, 5), "volt", 3)
    assert run("relu", "x.zarr", "z.zarr", "--chunks", "30,2")[0] == 0
    assert zarr.open_array("z.zarr").chunks == (30, 2)
    assert_same(load(tmp_path / "z.zarr"), rectifier.relu(X))
    zarr.create_array("old.zarr", data=X, chunks=(7, 5), zarr_format=2)
    assert run("relu", "old.zarr", "new.zarr")[0] == 0
    assert zarr.open_array("new.zarr").metadata.zarr_format == 2
    assert_same(load(tmp_path / "new.zarr"), rectifier.relu(X))
    save(tmp_path / "x.npz", X)
    assert run("relu", "x.npz", "y.npz")[0] == 0
    with zipfile.ZipFile("y.npz") as file:
        assert [(info.filename, info.compress_type) for info in file.infolist()] == [("x.npy", zipfile.ZIP_DEFLATED)]


def test_one_array_of_several_is_chosen(run, tmp_path):
    np.save("x.npy", X)
    refused(run("relu", "x.npy", "y.npy", "--dataset", "c"), "no array c")
    np.savez("x.npz", a=X, b=-X)
    with h5py.File("x.h5", "w") as file:
        file["a"], file["deep/b"] = X, -X
    group = zarr.create_group("x.zarr")
    group.create_array("a", data=X)
    group.create_array("deep/b", data=-X)
    for suffix, name in ((".npz", "b"), (".h5", "deep/b"), (".zarr", "deep/b")):
        refused(run("relu", f"x{suffix}", "y.npy"), "--dataset", "a, ")
        refused(run("relu", f"x{suffix}", "y.npy", "--dataset", "c"), "no array c", "a, ")
        assert run("relu", f"x{suffix}", "y.npy", "--dataset", name, "--force")[0] == 0
        assert_same(np.load("y.npy"), rectifier.relu(-X))


def malicious():
    class Bomb:
        def __reduce__(self):
            return os.mkdir, ("it-ran",)

    return np.array([Bomb()], dtype=object)


def damage(path, how):
    """Write a file that cannot be used."""
    np.save(path, X)
    content = path.read_bytes()
    if how == "object":
        np.save(path, malicious(), allow_pickle=True)
    elif how == "pickled":
        path.write_bytes(pickle.dumps(malicious()))
    else:
        path.write_bytes({
            "truncated": content[:-1], "longer": content + b"x", "header": content[:20], "empty": b"",
            "magic": b"x" + content[1:], "version": content[:6] + b"\x07" + content[7:],
        }[how])  # fmt: skip


BAD = {
    "truncated": "truncated", "longer": "followed by", "header": "damaged", "empty": "damaged", "magic": "no .npy file",
    "version": "version 7.0", "object": "pickled", "pickled": "no .npy file",
}  # fmt: skip


@pytest.mark.parametrize("how", BAD)
def test_a_bad_npy_file_is_refused_and_nothing_is_touched(run, tmp_path, how):
    damage(tmp_path / "x.npy", how)
    before = (tmp_path / "x.npy").read_bytes()
    refused(run("relu", "x.npy", "y.npy"), "x.npy", BAD[how])
    refused(run("relu", "x.npy", "--in-place"), BAD[how])
    assert left(tmp_path) == ["x.npy"]
    assert (tmp_path / "x.npy").read_bytes() == before


def test_other_bad_files_are_refused(run, tmp_path):
    good = save(tmp_path / "good.npy", X)
    for name in ("x.npz", "x.h5"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        refused(run("relu", name, "y.npy"), name)
    (tmp_path / "x.zarr").mkdir()
    refused(run("relu", "x.zarr", "y.npy"), "x.zarr", "none")
    (tmp_path / "x.zarr" / "zarr.json").write_text("{")
    refused(run("relu", "x.zarr", "y.npy"), "no JSON")
    refused(run("relu", "absent.npy", "y.npy"), "absent.npy: No such file")
    refused(run("relu", "absent.zarr", "y.npy"), "absent.zarr: No such file")
    (tmp_path / "directory.npy").mkdir()
    refused(run("relu", "directory.npy", "y.npy"), "directory")
    refused(run("relu", good, "y.txt"), "y.txt", ".npy, .npz")
    refused(run("relu", good, "absent/y.npy"), "no directory")
    np.savez("object.npz", x=malicious())
    refused(run("relu", "object.npz", "y.npy"), "pickled")
    for dtype in (bool, "c8", "S3", "M8[s]"):
        np.save("x.npy", np.zeros(3, dtype))
        refused(run("relu", "x.npy", "y.npy"), "its dtype is")
    with h5py.File("strings.h5", "w") as file:
        file["x"] = ["a", "b"]
    refused(run("relu", "strings.h5", "y.npy"), "its dtype is")
    assert not (tmp_path / "y.npy").exists()
    assert not (tmp_path / "it-ran").exists()


def test_zarr_is_never_unpickled(run, tmp_path):
    save(tmp_path / "x.zarr", X)
    zarr.create_array("old.zarr", data=X, zarr_format=2)
    for path, key in ((tmp_path / "x.zarr" / "zarr.json", "codecs"), (tmp_path / "old.zarr" / ".zarray", "filters")):
        metadata = json.loads(path.read_text())
        metadata[key] = [*(metadata[key] or ()), {"name": "numcodecs.pickle", "id": "pickle"}]
        path.write_text(json.dumps(metadata))
        refused(run("relu", path.parent.name, "y.npy"), "pickled")


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".zarr"])
def test_damage_that_shows_while_reading_leaves_no_output(run, tmp_path, suffix):
    path = save(tmp_path / f"x{suffix}", X.astype("f8"))
    where = path if path.is_file() else max(p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json")
    content = bytearray(where.read_bytes())
    if suffix == ".npz":
        content[200] ^= 255
    elif suffix == ".h5":
        place = content.rindex(b"\x78\x5e") if b"\x78\x5e" in content else len(content) // 2
        content[place : place + 40] = b"\xff" * 40
    else:
        content = content[: len(content) // 2]
    where.write_bytes(content)
    refused(run("relu", path.name, "y.npy"), path.name)
    assert left(tmp_path) == [path.name]


def test_what_does_not_fit_together_is_refused(run, tmp_path):
    np.save("x.npy", X)
    np.save("small.npy", X[0])
    refused(run("relu", "x.npy", "y.npy", "--backward", "small.npy"), "(20,)", "(30, 20)")
    refused(run("relu", "x.npy", "y.npy", "--negative-slope", "0.1"), "relu has no parameter negative_slope")
    refused(run("threshold", "x.npy", "y.npy", "--value", "2"), "threshold needs --threshold")
    refused(run("logsumexp", "x.npy", "y.npy"), "logsumexp gives one number for a row, and OUTPUT has the shape of")
    refused(run("nonsense", "x.npy", "y.npy"), "no function nonsense", "relu")
    refused(run("glu", "x.npy", "y.npy"), "--gate")
    refused(run("relu", "x.npy", "y.npy", "--gate", "x.npy"), "--gate")
    refused(run("softmax", "x.npy", "y.npy", "--derivative"), "derivative")
    refused(run("softmax", "x.npy", "y.npy", "--axis", "2"), "axis 2 is out of bounds")
    refused(run("relu", "x.npy", "y.npy", "--axis", "0"), "--axis")
    refused(run("relu", "x.npy", "y.npy", "--derivative", "--backward", "x.npy"), "two things")
    refused(run("relu", "x.npy", "y.zarr", "--chunks", "3"), "--chunks")
    refused(run("relu", "x.npy", "y.zarr", "--chunks", "3,a"), "'a'")
    refused(run("relu", "x.npy", "y.npy", "--memory", "lots"), "--memory")
    refused(run("relu", "x.npy"), "--in-place")
    refused(run("relu", "x.npy", "y.npy", "--in-place"), "no OUTPUT")
    refused(run("gelu", "x.npy", "y.npy", "--stats"), "no mask")
    refused(run("relu", "x.npy", "y.npy", "--scheduler", "tcp://127.0.0.1:1"), "Zarr")
    assert left(tmp_path) == ["small.npy", "x.npy"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_overwritten_without_force(run, tmp_path, suffix):
    save(tmp_path / "x.npy", X)
    y = save(tmp_path / f"y{suffix}", -X)
    refused(run("relu", "x.npy", y.name), "--force")
    assert_same(load(y), -X)
    assert run("relu", "x.npy", y.name, "--force")[0] == 0
    assert_same(load(y), rectifier.relu(X))
    assert left(tmp_path) == sorted(["x.npy", y.name])


def test_an_output_that_appears_meanwhile_is_not_overwritten(run, tmp_path, monkeypatch):
    save(tmp_path / "x.npy", X)
    before = files.publish
    monkeypatch.setattr(
        files, "publish", lambda part, path, *more: (path.write_text("other"), before(part, path, *more))
    )
    refused(run("relu", "x.npy", "y.npy"), "y.npy", "exists")
    assert (tmp_path / "y.npy").read_text() == "other"
    assert left(tmp_path) == ["x.npy", "y.npy"]


def test_the_file_that_is_read_is_not_the_output(run, tmp_path):
    save(tmp_path / "x.npy", X)
    os.symlink("x.npy", "link.npy")
    os.link("x.npy", "hard.npy")
    for name in ("x.npy", "link.npy", "hard.npy"):
        refused(run("relu", "x.npy", name, "--force"), "--in-place")
    assert_same(np.load("x.npy"), X)


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".zarr"])
def test_in_place_changes_the_file_and_says_what_a_crash_means(run, tmp_path, suffix):
    x = save(tmp_path / f"x{suffix}", X)
    code, _, err = run("relu", x.name, "--in-place")
    assert code == 0
    assert "if this is interrupted" in err
    assert_same(load(x), rectifier.relu(X))
    assert left(tmp_path) == [x.name]


def test_in_place_needs_the_same_dtype_and_a_file_that_can_be_changed(run, tmp_path):
    np.save("x.npy", np.arange(3))
    assert run("gelu", "x.npy", "--in-place")[0] == 2
    save(tmp_path / "x.npz", X)
    assert run("relu", "x.npz", "--in-place")[0] == 2
    assert_same(np.load("x.npy"), np.arange(3))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("more", [[], ["--derivative"]])
def test_stats_are_those_of_the_mask(run, tmp_path, monkeypatch, suffix, more):
    monkeypatch.setattr(boxes, "PIECE", 64)  # less than a row
    x = np.clip(X, -1, 1)
    x[:, 3] = -1
    save(tmp_path / f"x{suffix}", x)
    _, mask = rectifier.leaky_relu.with_mask(x)
    code, out, err = run("leaky_relu", f"x{suffix}", "y.npy", "--stats", "--json", *more)
    assert code == 0, err
    outcome = json.loads(out)
    assert outcome["active"] == mask.count()
    assert outcome["active_fraction"] == mask.count() / 600
    assert outcome["active_fraction_by_column"] is None
    code, out, _ = run("leaky_relu", f"x{suffix}", "z.npy", "--columns", "--json", *more)
    outcome = json.loads(out)
    assert outcome["active_fraction_by_column"] == (mask.count(axis=0) / 30).tolist()
    assert outcome["active"] == mask.count()
    assert "1 of 20 never active" in run("leaky_relu", f"x{suffix}", "w.npy", "--columns")[1]


def test_the_memory_that_is_too_small_is_named(run, tmp_path):
    save(tmp_path / "x.npy", X)
    refused(run("relu", "x.npy", "y.npy", "--memory", "1MiB"), "at least", "MiB")
    save(tmp_path / "x.zarr", np.zeros((1 << 11, 1 << 11), "f4"), (1 << 11, 1 << 11))
    refused(run("relu", "x.zarr", "y.zarr", "--memory", "1MiB"), "(2048, 2048)")


def command(*arguments, **settings):
    return subprocess.Popen(
        [sys.executable, "-c", "from rectifier.tools.cli import main; main()", "apply", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of 400 MB, with nothing on the disk."""
    path = tmp_path_factory.mktemp("large") / "x.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype="f4", shape=(100_000_000,)).flush()
    return path


def test_resident_memory_stays_below_the_bound(large, tmp_path):
    code = (
        "import sys\nfrom rectifier.tools.cli import main\n"
        "try:\n    main()\nfinally:\n    print(next(line for line in open('/proc/self/status') if 'VmHWM' in line))"
    )
    arguments = ["apply", "relu", large, tmp_path / "y.npy", "--memory", "230MiB"]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    peak = int(run.stdout.split("VmHWM:")[1].split()[0]) * 1024
    assert peak < 230 << 20
    assert (tmp_path / "y.npy").stat().st_size == large.stat().st_size


def after_it_began(process, directory):
    """Wait until the output is being written."""
    until = time.monotonic() + 60
    while not any(".part-" in name for name in left(directory)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_leaves_no_output(large, tmp_path, number):
    process = command("gelu", large, tmp_path / "y.npy")
    after_it_began(process, tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert not (tmp_path / "y.npy").exists()
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert f"stopped by {number.name}" in err
        assert not left(tmp_path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_no_output(tmp_path, suffix):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal(400_000, "f4"))

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    arguments = ["relu", tmp_path / "x.npy", tmp_path / f"y{suffix}"]
    rectifier.relu(X)  # so that its code is in the store: the process can write none
    process = command(*arguments, preexec_fn=limit)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert left(tmp_path) == ["x.npy"]


def test_pieces_cover_each_element_once_whatever_the_grids(tmp_path, monkeypatch):
    monkeypatch.setattr(boxes, "PIECE", 64)
    monkeypatch.setattr(boxes, "CHUNKED_PIECE", 400)
    seen = 0
    for shape in ((7,), (5, 6), (3, 4, 5), (2, 3, 4, 5)):
        for fortran in (False, True):
            for chunks in (None, tuple(max(1, side // 2) for side in shape), shape):
                for whole in (None, 0, len(shape) - 1):
                    for in_order in (False, True):
                        x = layout.Layout(tmp_path)
                        x.shape, x.dtype, x.fortran, x.in_order = shape, np.dtype("f4"), fortran, in_order
                        y = layout.Wanted(x, x.dtype, chunks)
                        job = apply.Job("relu", tmp_path, None, memory=1 << 34)
                        plan = boxes.plan(job, x, y, [], whole)
                        cut = list(plan)
                        assert len(cut) == plan.count
                        count = np.zeros(shape, int)
                        for box in cut:
                            count[box] += 1
                        assert (count == 1).all()
                        if whole is not None:
                            assert all(box[whole] == slice(0, shape[whole]) for box in cut)
                        if in_order:
                            order = np.arange(count.size).reshape(shape, order="F" if fortran else "C")
                            runs = [order[box].ravel(order="F" if fortran else "C") for box in cut]
                            assert_same(np.concatenate(runs), np.arange(count.size))
                        seen += len(cut)
    assert seen > 500


def test_the_stream_of_an_npz_is_checked_to_its_end(tmp_path):
    content = io.BytesIO()
    np.savez(content, x=np.ones(10_000, "f4"))
    raw = bytearray(content.getvalue())
    raw[300] ^= 1
    (tmp_path / "x.npz").write_bytes(raw)
    array = files.opened(tmp_path / "x.npz")
    array.read((slice(0, 9_000),), np.empty(9_000, "f4"))
    with pytest.raises(apply.FileError, match="CRC"):
        array.read((slice(9_000, 10_000),), np.empty(1_000, "f4"))
    array.close()


def test_a_cluster_reads_and_writes_zarr(run, tmp_path):
    distributed = pytest.importorskip("distributed")
    save(tmp_path / "x.zarr", X, (7, 5))
    save(tmp_path / "dy.zarr", X, (10, 20))
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0", silence_logs=60) as cluster:
        address = cluster.scheduler_address
        code, out, err = run("relu", "x.zarr", "y.zarr", "--scheduler", address, "--columns", "--json")
        assert code == 0, err
        _, mask = rectifier.relu.with_mask(X)
        assert json.loads(out)["active_fraction_by_column"] == (mask.count(axis=0) / 30).tolist()
        assert json.loads(out)["active"] == mask.count()
        assert run("relu", "x.zarr", "dx.zarr", "--backward", "dy.zarr", "--scheduler", address)[0] == 0
        assert run("softmax", "x.zarr", "p.zarr", "--chunks", "30,20", "--scheduler", address)[0] == 0
        refused(run("relu", "x.zarr", "y.zarr", "--scheduler", address), "--force")
    assert_same(load(tmp_path / "y.zarr"), rectifier.relu(X))
    assert zarr.open_array("y.zarr").chunks == (7, 5)
    assert_same(load(tmp_path / "dx.zarr"), rectifier.relu.backward(X, X))
    assert_same(load(tmp_path / "p.zarr"), rectifier.softmax(X))
    assert left(tmp_path) == ["dx.zarr", "dy.zarr", "p.zarr", "x.zarr", "y.zarr"]


def test_boxes_are_counted_and_not_listed(tmp_path):
    """Of an array of 2^60 elements, and of chunks of one element."""
    for shape, chunks in (((1 << 60,), None), ((1 << 30, 1 << 30), (1, 1)), ((1 << 60, 0), None)):
        x = layout.Layout(tmp_path)
        x.shape, x.dtype, x.chunks = shape, np.dtype("i1"), chunks
        found = boxes.plan(apply.Job("relu", tmp_path, None, memory=1 << 34), x, x, [], None)
        sides = [-(-length // max(side, 1)) for length, side in zip(shape, found.sides, strict=True)]
        assert found.count == np.prod(sides, dtype=object)
        first = next(iter(found), None)
        assert first == (None if 0 in shape else tuple(slice(0, side) for side in found.sides))


def test_chunks_count_for_the_memory(tmp_path):
    """A chunk is decoded whole, however small the box; many small ones have each a place in lists of their library."""
    x, y = layout.Layout(tmp_path), layout.Layout(tmp_path)
    x.shape = y.shape = (1 << 40,)
    x.dtype = y.dtype = np.dtype("f4")
    x.chunks, y.chunks = (1 << 30,), (1 << 10,)
    with pytest.raises(apply.FileError, match="--memory is too small"):
        boxes.plan(apply.Job("relu", tmp_path, None, memory=8 << 30), x, y, [], None)
    x.chunks, x.bytes_for_each_chunk = (1,), 1 << 13
    found = boxes.plan(apply.Job("relu", tmp_path, None, memory=4 << 30), x, y, [], None)
    assert found.sides[0] * (1 << 13) < 4 << 30


@pytest.mark.parametrize("suffix", [*SUFFIXES, "in place.npy", "in place.h5", "in place.zarr"])
def test_an_output_is_on_the_disk_before_it_has_its_name(run, tmp_path, monkeypatch, suffix):
    events = []
    fsync, link, rename = os.fsync, os.link, os.rename

    def noted(descriptor):
        events.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", lambda descriptor: (noted(descriptor), fsync(descriptor))[1])
    monkeypatch.setattr(files, "_sync_file_system", lambda descriptor: (noted(descriptor), True)[1])
    monkeypatch.setattr(os, "link", lambda *names: (events.append("named"), link(*names))[1])
    monkeypatch.setattr(os, "rename", lambda *names: (events.append("named"), rename(*names))[1])
    in_place, suffix = suffix.startswith("in place"), suffix.removeprefix("in place")
    x = save(tmp_path / f"x{suffix}", X)
    events.clear()
    assert run("relu", x.name, *(["--in-place"] if in_place else [f"y{suffix}"]))[0] == 0
    if in_place:
        assert events[-1] == str(x)
    else:
        part = max(k for k, event in enumerate(events) if ".part-" in event)
        assert part < max(k for k, event in enumerate(events) if event == "named")
        assert events[-1] == str(tmp_path)


def test_chunks_are_synced_one_by_one_where_no_file_system_is(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "_sync_file_system", lambda descriptor: False)
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    path = save(tmp_path / "x.zarr", X, (7, 5))
    files.sync(path)
    assert sorted(synced) == sorted(map(str, [path, *path.rglob("*")]))


def test_what_is_no_file_is_neither_read_nor_replaced(run, tmp_path):
    np.save("x.npy", X)
    os.mkfifo("pipe.npy")
    refused(run("relu", "pipe.npy", "y.npy"), "no regular file")
    refused(run("relu", "x.npy", "pipe.npy", "--force"), "no regular file")
    (tmp_path / "some.npy").mkdir()
    refused(run("relu", "x.npy", "some.npy", "--force"), "a directory")
    (tmp_path / "some.zarr").mkdir()
    (tmp_path / "some.zarr" / "letters").write_text("dear")
    refused(run("relu", "x.npy", "some.zarr", "--force"), "something other than Zarr")
    save(tmp_path / "x.zarr", X)
    refused(run("relu", "x.zarr", "x.zarr/y.zarr"), "one in the other")
    assert (tmp_path / "some.zarr" / "letters").read_text() == "dear"


def test_a_link_is_replaced_and_not_what_it_points_to(run, tmp_path):
    np.save("x.npy", X)
    for suffix in (".npy", ".zarr"):
        other = save(tmp_path / f"other{suffix}", -X)
        for name in (other.name, f"absent{suffix}"):
            os.symlink(name, f"y{suffix}")
            assert run("relu", "x.npy", f"y{suffix}", "--force")[0] == 0
            assert_same(load(tmp_path / f"y{suffix}"), rectifier.relu(X))
            assert_same(load(other), -X)
            assert not any(name.startswith(".") for name in left(tmp_path))
            files.remove(tmp_path / f"y{suffix}")


def test_columns_count_for_the_memory(run):
    np.save("x.npy", np.ones((1, 5_000_000), "i1"))
    refused(run("relu", "x.npy", "y.npy", "--columns", "--memory", "600MiB"), "columns", "at least")


# A library that is in one call for long, and lets other threads run meanwhile, as h5py and zarr do.
STUCK = """
import sys, time
import numpy as np
from rectifier.tools.apply import npy
def stuck(self, start, view):
    {}
    time.sleep(60)
npy.Npy._read_run = stuck
from rectifier.tools.cli import main
main()
"""


def stuck(what, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", STUCK.format(what), "apply", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_a_signal_is_heard_inside_a_long_call(tmp_path, suffix):
    x = save(tmp_path / "x.npy", X)
    process = stuck("pass", "relu", x, tmp_path / f"y{suffix}")
    after_it_began(process, tmp_path)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=40)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; no output was left" in err
    assert left(tmp_path) == ["x.npy"]


def test_more_memory_than_planned_ends_the_command(tmp_path):
    x = save(tmp_path / "x.npy", X)
    process = stuck("self.more = np.ones(50_000_000)", "relu", x, tmp_path / "y.npy", "--memory", "200MiB")
    _, err = process.communicate(timeout=40)
    assert process.returncode == 2
    assert "more than --memory, 200MiB" in err
    assert left(tmp_path) == ["x.npy"]


def test_a_full_standard_output_is_said_in_a_line(tmp_path):
    x = save(tmp_path / "x.npy", X)
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "rectifier", "apply", "relu", x, tmp_path / "y.npy"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert process.returncode == 1
    assert process.stderr == f"rectifier: standard output: No space left on device; {tmp_path / 'y.npy'} is whole\n"
    assert_same(load(tmp_path / "y.npy"), rectifier.relu(X))


@pytest.mark.parametrize("axis", [0, -1])
def test_softmax_of_one_number_is_one(run, axis):
    np.save("x.npy", np.float32(3))
    assert run("softmax", "x.npy", "y.npy", "--axis", axis)[0] == 0
    assert_same(np.load("y.npy"), np.float32(1).reshape(()))
    refused(run("softmax", "x.npy", "z.npy", "--axis", 1), "axis 1 is out of bounds")


def test_a_file_beside_the_input_has_one_array(run):
    np.save("x.npy", X)
    np.savez("two.npz", a=X, b=X)
    refused(run("relu", "x.npy", "y.npy", "--backward", "two.npz"), "--backward takes a file of one array", "a, b")
    refused(run("glu", "x.npy", "y.npy", "--gate", "two.npz"), "--gate takes a file of one array")
    np.savez("many.npz", **{f"a{k}": X[0, 0] for k in range(60)})
    refused(run("relu", "many.npz", "y.npy"), "and 10 more")


class Ended(BaseException):
    """Stands for the end of the process."""


def test_a_name_is_not_half_given_when_the_job_is_left(run, tmp_path, monkeypatch):
    """While an output gets its name nobody leaves the job; when it is left, none gets one."""
    said, path, part = [], tmp_path / "y.zarr", tmp_path / ".y.zarr.part-1-abc"

    def end(*arguments):
        said.append(arguments[1][-1])
        raise Ended

    monkeypatch.setattr(os, "execv", end)
    save(path, -X), save(part, X)
    watch = apply.Watch()
    watch.unfinished = part
    rename = os.rename

    def renamed(*names):
        for urged in (False, True):
            watch_module._leave(watch, urged, 130, "left", lambda watch: "")
        rename(*names)

    monkeypatch.setattr(os, "rename", renamed)
    files.publish(part, path, True, watch)
    assert not said
    assert left(tmp_path) == ["y.zarr"]
    assert_same(load(path), X)
    with pytest.raises(Ended):
        watch_module._leave(watch, False, 130, "left", lambda watch: "whole" if watch.whole else "none")
    assert said == ["left; whole"]
    assert watch.held.locked()  # so that no other name is given before the process ends


def test_a_file_that_is_changed_is_left_by_a_second_signal_alone(monkeypatch):
    said = []
    monkeypatch.setattr(os, "execv", lambda *arguments: (_ for _ in ()).throw(Ended(said.append(arguments[1][-1]))))
    watch = apply.Watch()
    with watch.held:
        watch_module._leave(watch, False, 130, "left", lambda watch: "changed in part")
        assert not said
        with pytest.raises(Ended):
            watch_module._leave(watch, True, 130, "left", lambda watch: "changed in part")
    assert said == ["left; changed in part, and may be unreadable"]


def test_an_output_that_came_meanwhile_is_not_hidden_by_force(tmp_path, monkeypatch):
    path, part, other = tmp_path / "y.zarr", tmp_path / ".y.zarr.part-1-abc", tmp_path / "other.zarr"
    for place in (path, part, other):
        save(place, X)
    rename, seen = os.rename, []

    def renamed(*names):
        rename(*names)
        if not seen:
            seen.append(rename(other, path))

    monkeypatch.setattr(os, "rename", renamed)
    with pytest.raises(FileExistsError):
        files.publish(part, path, True, apply.Watch())
    assert left(tmp_path) == [part.name, "y.zarr"]


def test_a_directory_that_may_not_be_read_takes_outputs(run, monkeypatch):
    np.save("x.npy", X)

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "_sync_directory", refuse)
    assert run("relu", "x.npy", "y.npy")[0] == 0


@pytest.mark.parametrize(("system", "factor"), [("linux", 1024), ("darwin", 1)])
def test_the_peak_stands_in_where_no_proc_is(monkeypatch, system, factor):
    def absent(*arguments, **settings):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", absent)
    monkeypatch.setattr(sys, "platform", system)
    assert watch_module.resident() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor
