"""The well document: which fields (positions) a well has."""

from __future__ import annotations

from collections.abc import Iterable

from platestore.spec import rules
from platestore.spec.base import OptionalModel
from platestore.spec.findings import Finding


class ImageMeta(OptionalModel):
    """One field of view in a well.

    Attributes
    ----------
    path : str
        Name of the field's group in the well.
    acquisition : int, optional
        Identifier of the acquisition it belongs to.
    """

    path: str
    acquisition: int | None = None


class WellGroupMeta(OptionalModel):
    """The metadata of a well.

    Attributes
    ----------
    images : list of ImageMeta
        The fields, in order.
    version : str, optional
        OME-NGFF version, written here in 0.4 only.
    """

    images: list[ImageMeta]
    version: str | None = None

    def image(self, path: str) -> ImageMeta | None:
        """The field of this name, or None.

        Examples
        --------
        >>> plate["A/1"].metadata.image("0").path
        '0'
        """
        return next((image for image in self.images if image.path == path), None)

    def findings(self) -> Iterable[Finding]:
        """Rules of field names that the document breaks."""
        return rules.well_images([image.path for image in self.images], "well.images")
