"""Documents of plates, wells and label lists as they should be, from what they were and what is there.

Pure functions on JSON. What is right stays, in its order; what others wrote stays; the rest is made to fit.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from platestore.spec.names import ALPHANUMERIC, natural_key
from platestore.spec.plate import standard_column, standard_row
from platestore.spec.values import Json

#: The acquisition of each field, by its name; None where none is said.
Fields = Mapping[str, int | None]


def plate(old: Any, wells: Mapping[str, Fields], *, name: str) -> Json:
    """The document of a plate.

    Parameters
    ----------
    old : object
        Its present JSON, whatever that is.
    wells : mapping
        The wells that are there, with their fields.
    name : str
        Name of a plate that has none.

    Returns
    -------
    dict
        Listed wells that are there, in their order, then the others in the natural order of their names;
        rows and columns are kept if they are right, and have all names that wells use. Where they are lost,
        standard names (A, B, ...; 1, 2, ...) get their places on the plate, with what lies between them.
    """
    new = copy.deepcopy(old) if isinstance(old, dict) else {}
    if not isinstance(new.get("name"), str):
        new["name"] = name
    listed = [w["path"] for w in objects(new.get("wells")) if isinstance(w.get("path"), str)]
    order = [path for path in dict.fromkeys(listed) if path in wells]
    order += sorted((path for path in wells if path not in order), key=natural_key)
    if are_exchanged(new, order):
        new["rows"], new["columns"] = new["columns"], new["rows"]
    for i, key, standard in ((0, "rows", standard_row), (1, "columns", standard_column)):
        used = dict.fromkeys(path.split("/")[i] for path in order)
        new[key] = _axis(new.get(key), used, standard)
    rows, columns = ({item["name"]: i for i, item in enumerate(new[key])} for key in ("rows", "columns"))
    entries = {w["path"]: w for w in reversed(objects(new.get("wells"))) if isinstance(w.get("path"), str)}
    new["wells"] = []
    for path in order:
        row, column = path.split("/")
        place = {"path": path, "rowIndex": rows[row], "columnIndex": columns[column]}
        new["wells"].append({**entries.get(path, {}), **place})
    _acquisitions(new, [wells[path] for path in order])
    if "field_count" in new and not _is_count(new["field_count"]):
        del new["field_count"]
    return new


def are_exchanged(plate: Json, wells: Iterable[str]) -> bool:
    """Whether the names that wells use of rows are listed as columns, and the reverse."""
    used = [{path.split("/")[i] for path in wells} for i in (0, 1)]
    rows, columns = ({str(item.get("name")) for item in objects(plate.get(k))} for k in ("rows", "columns"))
    right = used[0] <= rows and used[1] <= columns
    return not right and used[0] <= columns and used[1] <= rows


def _axis(old: Any, used: Iterable[str], standard: Any) -> list[Json]:
    """The rows or columns: those of the document if they are right, with every name that is used."""
    names = [item.get("name") for item in objects(old)]
    right = isinstance(old, list) and len(names) == len(old) == len(set(map(str, names)))
    if names and right and all(isinstance(n, str) and ALPHANUMERIC.fullmatch(n) for n in names):
        items = list(old)
        return items + [{"name": n} for n in sorted(set(used) - set(names), key=natural_key)]
    wanted = sorted(used, key=natural_key)
    grid = [standard(i) for i in range(_most(wanted, standard))]
    if set(wanted) <= set(grid):
        return [{"name": n} for n in grid]
    return [{"name": n} for n in wanted]


def _most(names: Sequence[str], standard: Any) -> int:
    """How many standard names reach up to the last of some; 0 if they are none of them."""
    limit = 64
    grid = {standard(i): i for i in range(limit)}
    if not all(name in grid for name in names):
        return 0
    return max((grid[name] + 1 for name in names), default=0)


def _acquisitions(new: Json, wells: Sequence[Fields]) -> None:
    """Declare every acquisition that fields name, and correct what is impossible.

    Fields of a plate without acquisitions may name the first one, 0.
    """
    used: dict[int, int] = {}
    for fields in wells:
        for acquisition, count in Counter(a for a in fields.values() if a is not None).items():
            used[acquisition] = max(used.get(acquisition, 0), count)
    found = new.get("acquisitions")
    kept = {a["id"]: a for a in reversed(objects(found)) if _is_index(a.get("id"))}
    items = [kept[i] for i in dict.fromkeys(a.get("id") for a in objects(found)) if i in kept]
    used = used if kept or set(used) - {0} else {}
    items += [{"id": i, "name": f"acquisition {i}"} for i in sorted(set(used) - set(kept))]
    for item in items:
        most, seen = item.get("maximumfieldcount"), used.get(item["id"], 0)
        if _is_count(most):
            item["maximumfieldcount"] = max(most, seen)
        elif most is not None or item["id"] not in kept:
            item["maximumfieldcount"] = max(1, seen)
        for key in ("starttime", "endtime"):
            if key in item and not _is_index(item[key]):
                del item[key]
    if items:
        new["acquisitions"] = items
    else:
        new.pop("acquisitions", None)


def well(old: Any, fields: Iterable[str], acquisitions: Sequence[int]) -> Json:
    """The document of a well.

    Parameters
    ----------
    old : object
        Its present JSON, whatever that is.
    fields : iterable of str
        The fields that are there.
    acquisitions : sequence of int
        The acquisitions of the plate. Where there are several, fields must name theirs: one that is lost is
        taken for the commonest in the well, or else the first.
    """
    new = copy.deepcopy(old) if isinstance(old, dict) else {}
    there = set(fields)
    entries: dict[str, Json] = {}
    for item in objects(new.get("images")):
        path = item.get("path")
        if isinstance(path, str) and path in there and path not in entries:
            entries[path] = item
    for name in sorted(there - set(entries), key=natural_key):
        entries[name] = {"path": name}
    known = Counter(a for e in entries.values() if _is_index(a := e.get("acquisition")))
    guess = known.most_common(1)[0][0] if known else (acquisitions[0] if acquisitions else 0)
    for entry in entries.values():
        if "acquisition" in entry and not _is_index(entry["acquisition"]):
            del entry["acquisition"]
        if len(acquisitions) > 1 and "acquisition" not in entry:
            entry["acquisition"] = guess
    new["images"] = list(entries.values())
    return new


def labels(old: Any, names: Iterable[str]) -> list[str]:
    """The list of label images: those of the present list that are there, then the others."""
    there = set(names)
    kept = [name for name in dict.fromkeys(n for n in _list(old) if isinstance(n, str)) if name in there]
    return kept + sorted(there - set(kept), key=natural_key)


def objects(value: Any) -> list[Json]:
    """The objects in a list, whatever else is in it, or none if it is no list."""
    return [item for item in _list(value) if isinstance(item, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_index(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_count(value: Any) -> TypeGuard[int]:
    return _is_index(value) and value > 0
