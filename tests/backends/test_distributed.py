"""dask.distributed: several processes, of which one may die, give what one process gives."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, wait

from conftest import assert_same, numbers
from rectifier import gelu, relu
from rectifier.engine import process

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "data_parallel.py"))
STEPS = 8


@pytest.fixture(scope="module")
def client():
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "60s"}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=60) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_training_on_two_processes_is_training_on_one(client):
    x, target = EXAMPLE["digits"]()
    apart = EXAMPLE["train"](x, target, steps=STEPS)
    with dask.config.set(scheduler="synchronous"):
        alone = EXAMPLE["train"](x, target, steps=STEPS)
        assert EXAMPLE["accuracy"](x, target, *alone) > 0.8
    # Sums go by chunks in one order; a product of matrices may not, as it is BLAS's with another number of threads.
    for ours, theirs in zip(apart, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_each_worker_takes_part(client):
    x = da.ones((8, 1000), chunks=(1, 1000), dtype="f4")

    def where(array):
        time.sleep(0.05)
        return np.full((1, 1), os.getpid())

    processes = relu(x).map_blocks(where, dtype=int, chunks=(1, 1)).compute()
    assert len(np.unique(processes)) == 2
    assert os.getpid() not in processes


def test_a_worker_finds_compiled_code_and_uses_one_thread(client):
    x = numbers(1 << 20, np.dtype("f4"))
    expected = gelu(x)  # and now it is in the store
    client.restart()
    assert_same(gelu(da.from_array(x, chunks=1 << 18)).compute(), expected)

    def look():
        control = process.words().control
        # Not Numba itself, which Dask brings where the package sparse is installed.
        return "rectifier.engine.compiler.kernels" in sys.modules, control.helpers

    for compiler, helpers in client.run(look).values():
        assert not compiler
        assert not helpers


def slow(array):
    time.sleep(0.2)
    return array


def test_a_worker_that_is_killed_costs_no_result(client):
    x = numbers(240, np.dtype("f4")).reshape(24, 10)
    lazy = relu.backward(da.from_array(x, chunks=(1, 10)).map_blocks(slow, dtype=x.dtype), x)
    future = client.compute(lazy)
    time.sleep(0.9)
    assert future.status == "pending"
    (victim, *_), before = client.run(os.getpid).values(), set(client.run(os.getpid).values())
    os.kill(victim, signal.SIGKILL)
    wait(future, timeout=60)
    assert_same(future.result(), relu.backward(x, x))
    client.wait_for_workers(2, timeout=60)
    assert set(client.run(os.getpid).values()) != before


def test_files_go_through_a_cluster_whether_dask_plans_or_not(client, tmp_path):
    """With ``array.query-planning`` Dask has neither ``from_zarr`` nor ``to_zarr``."""
    zarr = pytest.importorskip("zarr")
    x = numbers(80, np.dtype("f4")).reshape(8, 10)
    zarr.save_array(tmp_path / "x.zarr", x)
    command = [sys.executable, "-m", "rectifier", "apply", "relu", "x.zarr", "y.zarr", "--scheduler"]
    run = subprocess.run(
        [*command, client.scheduler.address],
        env={**os.environ, "DASK_ARRAY__QUERY_PLANNING": "True"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert_same(zarr.open(tmp_path / "y.zarr")[:], relu(x))


def test_masks_stay_where_they_were_made(client):
    x = numbers(80, np.dtype("f4")).reshape(8, 10)
    y, mask = dask.persist(*relu.with_mask(da.from_array(x, chunks=(2, 10))))
    assert_same(relu.backward(y, mask=mask).compute(), relu.backward(relu(x), x))
    assert mask.compute() == relu.with_mask(x)[1]
