"""Truth, whether an activation function tells it, and what every backend promises.

For the functions here and for those of your own. It needs mpmath, and ml_dtypes for bfloat16.
"""

from .checks import (
    FLOATS,
    bound,
    check,
    check_algebra,
    check_backward,
    check_points,
    dtype_of,
    exact,
    exact_arrays,
    nearest,
    settings_of,
    special_values,
    ulp_distance,
    ulps,
)
from .contract import BackendContract

__all__ = [
    "FLOATS",
    "BackendContract",
    "bound",
    "check",
    "check_algebra",
    "check_backward",
    "check_points",
    "dtype_of",
    "exact",
    "exact_arrays",
    "nearest",
    "settings_of",
    "special_values",
    "ulp_distance",
    "ulps",
]
