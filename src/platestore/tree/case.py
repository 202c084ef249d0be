"""Names that differ only in case: one name on some file systems."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from platestore.errors import InvalidNameError
from platestore.spec.plate import PlateMeta
from platestore.tree.location import Location


def check_case(location: Location, listed: Iterable[str], new: Iterable[str], kind: str) -> None:
    """Hold new names against those that are listed, and each other.

    Parameters
    ----------
    location : Location
        The group they are in.
    listed, new : iterable of str
        Names that are there, and names to be added.
    kind : str
        What they name, in the plural.

    Raises
    ------
    InvalidNameError
        If two differ only in case and the store's file system folds it; elsewhere that is a warning.
    """
    there = set(listed)
    folded = {name.casefold(): name for name in there}
    for name in sorted(set(new) - there):
        other = folded.setdefault(name.casefold(), name)
        if other == name:
            continue
        text = f"the {kind} {other!r} and {name!r} differ only in case"
        if location.storage.folds_case():
            raise InvalidNameError(text, path=location.where, hint="they are one name on this file system")
        warnings.warn(f"{location.where}: {text}, and are one name on other file systems", stacklevel=4)


def check_axis_case(location: Location, plate: PlateMeta, wells: Iterable[str]) -> None:
    """Check the row and column names of new wells."""
    paths = [path.split("/") for path in wells]
    check_case(location, (row.name for row in plate.rows), (path[0] for path in paths), "rows")
    check_case(location, (column.name for column in plate.columns), (path[1] for path in paths), "columns")
