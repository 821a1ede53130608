"""Optional dependencies: imported where used, and a missing one says what to type."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module.

    Parameters
    ----------
    module : str
        Dotted name, for example ``"matplotlib.pyplot"``.
    extra : str
        The extra of shadowprune that installs it.

    Raises
    ------
    ImportError
        If it is not installed; the message holds the pip line to type.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{module} is not available ({error}): pip install "shadowprune[{extra}]"', name=error.name
        ) from error
