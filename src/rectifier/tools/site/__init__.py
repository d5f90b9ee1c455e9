"""The pages of the documentation that are made of the package: an extension of Sphinx, which ``docs/conf.py`` names.

``.ci/docs`` builds the whole.
"""

from .extension import setup

__all__ = ["setup"]
