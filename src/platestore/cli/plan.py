"""``platestore plan``."""

from __future__ import annotations

import json
import os
import warnings
from typing import TYPE_CHECKING, Any

import click

from platestore.cli import values
from platestore.cli.output import complain, echo
from platestore.spec.compressors import offered

if TYPE_CHECKING:
    from platestore.arrays.layout import ArrayLayout
    from platestore.storage.hierarchy import ZarrFormat


@click.command("plan")
@click.argument("path", required=False, type=click.Path())
@click.option(
    "--shape",
    type=values.shape,
    metavar="T,C,Z,Y,X",
    help="Shape of a new array to plan for, instead of PATH.",
)
@click.option("--dtype", help="Data type of the new array, such as uint16.")
@click.option("--axes", help="Names of the axes of the new array; by default the last ones of TCZYX.")
@click.option(
    "--chunks",
    type=values.shape,
    metavar="SHAPE",
    help="Shape of a chunk; by default a chunk holds a ZYX stack.",
)
@click.option(
    "--shards",
    type=values.shards,
    metavar="SIZE|AXES|SHAPE",
    help="Shards: a largest size (1GB), axes that a shard holds whole (ZYX), or a shape (1,1,64,2048,2048).",
)
@click.option(
    "--shards-ratio",
    type=values.shape,
    metavar="COUNTS",
    help="Number of chunks in a shard along each axis, instead of --shards.",
)
@click.option(
    "--compressor",
    metavar="NAME[:LEVEL]",
    help=f"Compressor of the chunks: {offered(with_default=True)}.",
)
@click.option("--checksum", is_flag=True, help="Store a checksum (crc32c) with each chunk; 0.5 only.")
@values.ome_version(
    "OME-NGFF version to plan for; by default that of PATH, otherwise 0.4, or 0.5 where shards or checksums "
    "are asked for."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the plan as one JSON object; sizes are in bytes."
)
def command(
    path: str | None,
    axes: str | None,
    version: str | None,
    as_json: bool,
    **layout: Any,
) -> None:
    """Say what a layout means: files, memory per writer, and which writes rewrite data.

    PATH is an array, or a position or plate whose first array is meant; with layout options, the plan is
    that of a new array of its shape and data type. Without PATH, --shape and --dtype say what to plan for.
    """
    from platestore.arrays.planning import plan_for
    from platestore.spec.versions import adapter, new_version

    existing, names, zarr_format = None, None if axes is None else _split(axes), None
    if path is None and (layout["shape"] is None or layout["dtype"] is None):
        raise click.UsageError("Name a PATH, or a --shape and a --dtype.")
    if path is not None:
        given = [name for name in ("shape", "dtype") if layout[name] is not None] + (["axes"] if axes else [])
        if given:
            raise click.UsageError(f"PATH says its own {' and '.join(given)}.")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            existing, names, zarr_format = _existing(path)
        for warning in caught:
            complain(warning.message, "Warning")
    if version is not None or zarr_format is None:
        sharded = any(layout[name] for name in ("shards", "shards_ratio", "checksum"))
        zarr_format = adapter(new_version(version, sharded=sharded)).zarr_format
    result = plan_for(existing, zarr_format=zarr_format, axis_names=names, **layout)
    echo(json.dumps(result.to_json(), indent=2) if as_json else result.render())


def _split(axes: str) -> list[str]:
    return [name.strip() for name in axes.split(",")] if "," in axes else list(axes)


def _existing(path: str) -> tuple[ArrayLayout, list[str], ZarrFormat]:
    """Layout, axis names and zarr format of an array, or of the first array of a position or plate."""
    from platestore.arrays.layout import layout_of
    from platestore.errors import ArgumentError, NodeNotFoundError
    from platestore.summary import positions
    from platestore.tree.image import ImageEditor
    from platestore.tree.opening import open_editor

    array = None
    try:
        first = next(positions(path), None)
    except ArgumentError:  # PATH is an array
        path, array = os.path.split(os.path.abspath(path))
        first = "."
    if first is None:
        raise NodeNotFoundError("there is no position in it", path=path, hint="pass --shape and --dtype")
    position = open_editor(path if first == "." else f"{path.rstrip('/')}/{first}", layout="fov")
    assert isinstance(position, ImageEditor)
    if array is None:
        array = next(iter(position.names()), None)
    if array is None:
        raise NodeNotFoundError("there is no image in it", path=path, hint="pass --shape and --dtype")
    document = position.array_document(array)
    layout = layout_of(document.data, document.zarr_format, where=position.location.child(array).where)
    return layout, [axis.name for axis in position.axes], document.zarr_format
