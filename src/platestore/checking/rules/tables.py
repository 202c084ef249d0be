"""The documents of each version, as shapes: keys, their types, and which must be there.

What goes beyond types is in :mod:`platestore.spec.rules`. Unknown keys are allowed everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from platestore.checking.rules.grammar import Flag, Key, Listing, Need, Number, ObjectRule, Shape, Text
from platestore.spec.versions import Adapter

_TEXT = Text()
_NUMBER = Number()
_INTEGER = Number(whole=True)


@cache
def documents(ngff: Adapter) -> Mapping[str, Shape]:
    """The shapes of the top-level keys.

    Parameters
    ----------
    ngff : Adapter
        The version of OME-NGFF.
    """
    stamp = (
        {"version": Key(Text((ngff.name,), code="version-wrong"), "strict")} if ngff.stamps_objects else {}
    )
    return {
        "multiscales": Listing(_multiscale(stamp)),
        "omero": _omero(ngff.channel_keys),
        "image-label": _image_label(stamp),
        "labels": Listing(_TEXT),
        "plate": _plate(stamp),
        "well": _well(stamp),
        "series": Listing(_TEXT),
        "bioformats2raw.layout": _NUMBER,
    }


def _multiscale(stamp: Mapping[str, Key]) -> ObjectRule:
    axis = ObjectRule(
        "axes",
        "an axis",
        {"name": Key(_TEXT, "must"), "type": Key(_TEXT, "should")},
    )
    transform = ObjectRule(
        "multiscales",
        "a transformation",
        {
            "type": Key(_TEXT, "must"),
            "scale": Key(Listing(_NUMBER)),
            "translation": Key(Listing(_NUMBER)),
        },
    )
    dataset = ObjectRule(
        "multiscales",
        "a dataset",
        {"path": Key(_TEXT, "must"), "coordinateTransformations": Key(Listing(transform), "must")},
    )
    return ObjectRule(
        "multiscales",
        "an image",
        {
            **stamp,
            "axes": Key(Listing(axis), "must"),
            "datasets": Key(Listing(dataset), "must"),
            "coordinateTransformations": Key(Listing(transform)),
            "name": Key(_TEXT, "strict"),
            "type": Key(_TEXT, "strict", typed="warning"),
            "metadata": Key(ObjectRule("multiscales", "metadata", {}), "strict", typed="warning"),
        },
    )


def _omero(need: Need) -> ObjectRule:
    window = ObjectRule(
        "omero",
        "the window of a channel",
        {key: Key(_NUMBER, "must") for key in ("start", "end", "min", "max")},
    )
    channel = ObjectRule(
        "omero",
        "a channel",
        {
            "color": Key(_TEXT, need),
            "window": Key(window, need),
            "label": Key(_TEXT),
            "family": Key(_TEXT),
            "active": Key(Flag()),
        },
    )
    return ObjectRule("omero", "the rendering settings", {"channels": Key(Listing(channel), "must")})


def _image_label(stamp: Mapping[str, Key]) -> ObjectRule:
    color = ObjectRule(
        "image-label",
        "a color",
        {"label-value": Key(_INTEGER, "must"), "rgba": Key(Listing(_INTEGER))},
    )
    entry = ObjectRule("image-label", "a property", {"label-value": Key(_INTEGER, "must")})
    source = ObjectRule("image-label", "the source", {"image": Key(_TEXT)})
    return ObjectRule(
        "image-label",
        "a label image",
        {
            **stamp,
            "colors": Key(Listing(color), "strict"),
            "properties": Key(Listing(entry)),
            "source": Key(source),
        },
    )


def _plate(stamp: Mapping[str, Key]) -> ObjectRule:
    row = ObjectRule("plate", "a row or a column", {"name": Key(_TEXT, "must")})
    well = ObjectRule(
        "plate",
        "a well",
        {
            "path": Key(_TEXT, "must"),
            "rowIndex": Key(_INTEGER, "must"),
            "columnIndex": Key(_INTEGER, "must"),
        },
    )
    acquisition = ObjectRule(
        "plate",
        "an acquisition",
        {
            "id": Key(_INTEGER, "must"),
            "name": Key(_TEXT, "strict"),
            "maximumfieldcount": Key(_INTEGER, "strict"),
            "description": Key(_TEXT),
            "starttime": Key(_INTEGER),
            "endtime": Key(_INTEGER),
        },
    )
    return ObjectRule(
        "plate",
        "a plate",
        {
            **stamp,
            "rows": Key(Listing(row), "must"),
            "columns": Key(Listing(row), "must"),
            "wells": Key(Listing(well), "must"),
            "acquisitions": Key(Listing(acquisition)),
            "name": Key(_TEXT, "strict"),
            "field_count": Key(_INTEGER, "should"),
        },
    )


def _well(stamp: Mapping[str, Key]) -> ObjectRule:
    image = ObjectRule("well", "an image", {"path": Key(_TEXT, "must"), "acquisition": Key(_INTEGER)})
    return ObjectRule("well", "a well", {**stamp, "images": Key(Listing(image), "must")})
