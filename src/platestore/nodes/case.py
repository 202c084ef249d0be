"""Names that differ only in case: one name on some file systems."""

from __future__ import annotations

import warnings

from platestore.errors import InvalidNameError
from platestore.nodes.location import Location


def check_case(location: Location, names: set[str], kind: str) -> None:
    """Refuse names that differ only in case where the store's file system folds case; else warn."""
    folded: dict[str, str] = {}
    for name in sorted(names):
        other = folded.setdefault(name.casefold(), name)
        if other == name:
            continue
        text = f"the {kind} {other!r} and {name!r} differ only in case"
        if location.storage.folds_case():
            raise InvalidNameError(text, path=location.where, hint="they are one name on this file system")
        warnings.warn(f"{location.where}: {text}, and are one name on other file systems", stacklevel=4)
