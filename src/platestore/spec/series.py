"""The ``bioformats2raw`` layout: a group of numbered images without a plate."""

from __future__ import annotations

from pydantic import Field

from platestore.spec.base import Model


class SeriesMeta(Model):
    """The metadata of a bioformats2raw collection.

    Attributes
    ----------
    layout : int
        Version of the layout; 3 is the one the specification describes.
    """

    layout: int = Field(alias="bioformats2raw.layout")


class SeriesListMeta(Model):
    """The ``OME`` group's list of image paths, in the order of the OME-XML.

    Attributes
    ----------
    series : list of str
        Paths of the images, relative to the collection.
    """

    series: list[str]
