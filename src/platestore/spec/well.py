"""The well document: which fields (positions) a well has."""

from __future__ import annotations

from collections.abc import Iterable

from platestore.spec.base import OptionalModel, duplicates
from platestore.spec.findings import Finding
from platestore.spec.names import ALPHANUMERIC


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
        """The field of this name, or None."""
        return next((image for image in self.images if image.path == path), None)

    def findings(self) -> Iterable[Finding]:
        """Rules of field names that the document breaks."""
        if not self.images:
            yield Finding("well-empty", "well.images", "lists no image")
        for path in duplicates(image.path for image in self.images):
            yield Finding("image-duplicate", "well.images", f"{path!r} is listed more than once")
        for i, image in enumerate(self.images):
            if not ALPHANUMERIC.fullmatch(image.path):
                yield Finding("image-path", f"well.images[{i}].path", f"{image.path!r} is not alphanumeric")
