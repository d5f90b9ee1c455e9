#!/usr/bin/env bash
# HDF5 1.14.6 and 2.0.0 (h5py 3.14.0 and 3.16.0): H5Ocopy of a dataset of variable-length strings with a fill value into
# another file copies the fill value as its place in the global heap of the first file. The copy's values are right, and
# its creation properties (fill value, chunks, filters) can no longer be read. Variables of strings in files of the
# netCDF-4 library have such a fill value.
#
# Output seen:
#   h5py 3.14.0, HDF5 1.14.6: values ['a', 'bb']; fill value: RuntimeError: ... (bad global heap collection signature)
#   h5py 3.16.0, HDF5 2.0.0: values ['a', 'bb']; fill value: RuntimeError: ... (bad global heap collection signature)
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv env
for version in 3.14.0 3.16.0; do
    env/bin/pip install --quiet --disable-pip-version-check "h5py==$version" "numpy==2.3.5"
    env/bin/python - <<'PYTHON'
import h5py

with h5py.File("a.h5", "w") as file:
    file.create_dataset("x", data=["a", "bb"], dtype=h5py.string_dtype(), fillvalue="none")
with h5py.File("a.h5") as source, h5py.File("b.h5", "w") as target:
    assert source["x"].fillvalue == b"none"
    source.copy("x", target)
with h5py.File("b.h5") as file:
    values = file["x"].asstr()[:].tolist()
    assert values == ["a", "bb"]
    try:
        found = repr(file["x"].fillvalue)
    except RuntimeError as error:
        found = f"RuntimeError: {error}"
print(f"h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}: values {values}; fill value: {found}")
assert "bad global heap collection signature" in found, "the behaviour has changed"
PYTHON
done
