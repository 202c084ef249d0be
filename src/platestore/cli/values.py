"""What the values of options mean: shapes, shards, numbers of levels, names."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from platestore.spec.versions import ADAPTERS
from platestore.storage.base import DOCUMENTS


class _Renamed(click.Option):
    """An option whose last name is an old one: it works, and is not shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return record and (record[0].replace(f", {self.opts[-1]}", ""), record[1])


def ome_version(words: str) -> Callable[[Any], Any]:
    """The option that chooses the version of OME-NGFF, the same in every command.

    Parameters
    ----------
    words : str
        Its help.
    """
    return click.option(
        "--ome-version",
        "--version",
        "version",
        cls=_Renamed,
        type=click.Choice(list(ADAPTERS)),
        help=words,
    )


def shape(value: str) -> tuple[int, ...]:
    """A shape: ``1,1,16,256,256`` or ``1x1x16x256x256``."""
    try:
        return tuple(int(part) for part in value.lower().replace("x", ",").split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of integers such as 1,1,16,256,256") from None


def shards(value: str) -> tuple[int, ...] | int | str:
    """A shape, or what the library takes as a size (``1GB``) or axes (``ZYX``)."""
    if value.isdecimal():
        return int(value)
    if "," in value or value.lower().replace("x", "").isdecimal():
        return shape(value)
    return value


def levels(value: str) -> int | str:
    """A number of levels, or ``auto``."""
    if value == "auto":
        return value
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor 'auto'") from None


def nodes(ctx: click.Context, param: click.Parameter | None, values: Sequence[str]) -> tuple[str, ...]:
    """Paths of stores and nodes, without the documents that a pattern of the shell caught beside them.

    ``PLATE.zarr/*/*/*`` are the positions of a plate of 0.4, and also ``PLATE.zarr/A/1/zarr.json`` in 0.5. A
    document is passed over where something else is named that lies as deep.
    """
    depths = {_depth(path) for path in values if not _is_document(path)}
    return tuple(path for path in values if not (_is_document(path) and _depth(path) in depths))


def _is_document(path: str) -> bool:
    return os.path.basename(path.rstrip("/\\")) in DOCUMENTS and not os.path.isdir(path)


def _depth(path: str) -> int:
    return os.path.normpath(path).count(os.sep)


def names(ctx: click.Context, param: click.Parameter, values: Iterable[str]) -> list[str] | None:
    """Names, one per option or several with commas; one with a comma in it stands in double quotes."""
    rows = csv.reader(values, skipinitialspace=True)
    return [name.strip() for row in rows for name in row if name.strip()] or None


def axes(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    """Names of axes, one letter each: ``zyx`` or ``z,y,x``."""
    if value is None:
        return None
    names = [name for name in value.lower().replace(",", "") if not name.isspace()]
    if not names or not set(names) <= set("tczyx"):
        raise click.BadParameter(f"{value!r} are no axes such as zyx")
    return names
