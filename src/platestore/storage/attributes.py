"""Attributes as a mapping whose every assignment is one commit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from platestore.errors import ArgumentError
from platestore.spec.values import Json
from platestore.storage.documents import check_json

Change = Callable[[Json], None]


class AttributesView(MutableMapping[str, Any]):
    """The attributes of a group or array.

    Reading gives copies; every assignment is committed to disk at once, as one change.

    Parameters
    ----------
    read : callable
        Gives the attributes.
    commit : callable
        Commits a change of the attributes.
    where : str
        Path of the node, for errors.
    """

    def __init__(
        self, read: Callable[[], Mapping[str, Any]], commit: Callable[[Change], None], where: str
    ) -> None:
        self._read = read
        self._commit = commit
        self._where = where

    def __getitem__(self, key: str) -> Any:
        return copy.deepcopy(self._read()[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        def change(attributes: Json) -> None:
            del attributes[key]

        self._commit(change)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._read()))

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(self.asdict())

    def asdict(self) -> Json:
        """A copy of all attributes."""
        return copy.deepcopy(dict(self._read()))

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several attributes in one commit."""
        new = _checked(dict(*args, **kwargs), self._where)
        self._commit(lambda attributes: attributes.update(new))

    def put(self, attributes: Mapping[str, Any]) -> None:
        """Replace all attributes in one commit."""
        new = _checked(dict(attributes), self._where)

        def change(present: Json) -> None:
            present.clear()
            present.update(new)

        self._commit(change)

    def clear(self) -> None:
        """Remove all attributes in one commit."""
        self.put({})


def _checked(values: Json, where: str) -> Json:
    try:
        check_json(values, where=where)
        return copy.deepcopy(values)
    except RecursionError:
        raise ArgumentError("the value is nested too deeply", path=where) from None
