"""The ReLU and its family for NumPy arrays: value, derivative and backward, each in one pass."""

from typing import TYPE_CHECKING

from .catalogue import ALL, LOSSES
from .functions.define import elementwise, gated, rowwise
from .functions.mask import Mask
from .functions.protocols import Activation, Gated

if TYPE_CHECKING:
    from .catalogue.exponentials import *  # noqa: F403
    from .catalogue.gates import *  # noqa: F403
    from .catalogue.losses import *  # noqa: F403
    from .catalogue.periodic import *  # noqa: F403
    from .catalogue.piecewise import *  # noqa: F403
    from .catalogue.reductions import *  # noqa: F403
    from .catalogue.rowwise import *  # noqa: F403
    from .catalogue.sigmoids import *  # noqa: F403

__version__ = "0.1.0"
__all__ = ["Activation", "Gated", "Mask", "elementwise", "gated", "rowwise"]
__all__ += ["memory", "settings", "warmup"]  # noqa: F405  (`__getattr__` has these)
__all__ += [*ALL, *LOSSES]


def __getattr__(name: str) -> object:
    """Make or import what is asked for, and not before: a function takes a millisecond."""
    from importlib import import_module

    if name in ALL:
        value: object = ALL[name]
    elif name in LOSSES:
        value = LOSSES[name]
    elif name == "swish":
        value = ALL["silu"]
    elif name == "memory":
        value = import_module(".memory", __name__)
    elif name == "settings":
        value = import_module(".engine.settings", __name__).settings
    elif name == "warmup":
        value = import_module(".functions.warmup", __name__).warmup
    else:
        from sys import modules

        # With these two a traceback asks whether the nearest name was meant.
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=modules[__name__])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
