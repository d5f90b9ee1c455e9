#!/usr/bin/env bash
# zarr 3.1.6: `zarr.open_array` takes `config`, and for an array that is there already it takes no notice of it. With
# {"write_empty_chunks": True}, chunks that equal the fill value are left unwritten (and those that exist are deleted);
# `create_array` with the same `config` writes them.
#
# Output seen:
#   zarr 3.1.6: chunks written by open_array(config): 0 of 2, by create_array(config): 2 of 2
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check "zarr==3.1.6" "numpy==2.3.5"
env/bin/python - <<'PYTHON'
import zarr

config, settings = {"write_empty_chunks": True}, {"shape": (4,), "chunks": (2,), "dtype": "f4", "fill_value": 0.0}
made = zarr.create_array("a.zarr", config=config, **settings)
made[:] = 0
zarr.create_array("b.zarr", **settings)
opened = zarr.open_array("b.zarr", mode="r+", config=config)
opened[:] = 0
counts = opened.nchunks_initialized, made.nchunks_initialized
print(f"zarr {zarr.__version__}: chunks written by open_array(config): {counts[0]} of 2, by create_array(config): {counts[1]} of 2")
assert counts == (0, 2), "the behaviour has changed"
PYTHON
