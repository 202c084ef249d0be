"""xarray itself, which is an extra of this library."""

from __future__ import annotations

import importlib
from typing import Any


def import_xarray() -> Any:
    """The module ``xarray``.

    Raises
    ------
    ImportError
        If it is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module("xarray")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error.name or 'xarray'} is not installed, which labelled arrays need; "
            "install it with: pip install 'platestore[xarray]'",
            name=error.name,
        ) from error
