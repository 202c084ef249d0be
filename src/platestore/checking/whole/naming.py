"""What documents name: where a store cannot be listed, that is all there is to go by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from platestore.checking.whole.rebuild import objects
from platestore.errors import PlatestoreError
from platestore.spec import versions
from platestore.spec.names import split_path


def named_members(attributes: Mapping[str, Any], zarr_format: int) -> Iterator[str]:
    """Paths of the members that the attributes of a group list, whatever it is; those that lead out are not.

    Parameters
    ----------
    attributes : mapping
        The attributes.
    zarr_format : int
        2 or 3.
    """
    parts = versions.of(attributes, zarr_format).container(attributes)
    lists = [
        *(objects(_of(parts.get("plate"), "wells"))),
        *(objects(_of(parts.get("well"), "images"))),
        *(
            dataset
            for image in objects(parts.get("multiscales"))
            for dataset in objects(image.get("datasets"))
        ),
    ]
    names = [entry.get("path") for entry in lists]
    for key in ("labels", "series"):
        names += parts[key] if isinstance(parts.get(key), list) else []
    for name in names:
        try:
            if isinstance(name, str):
                yield split_path(name, location="", document="")
        except PlatestoreError:
            continue


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
