"""platestore's own attribute namespace: what the specification has no place for.

It holds the channel names and axes of a plate (the specification lists them per image only), the
physical format, the transformations that ``set_scale`` replaced, the intents of multi-file changes
that are under way, and, in a store that is still empty, the documents that could not be valid yet.
"""

from __future__ import annotations

import copy

from pydantic import Field, ValidationError, model_validator

from platestore.errors import InvalidMetadataError
from platestore.spec.axes import Axis
from platestore.spec.base import Model, OptionalModel
from platestore.spec.names import split_path
from platestore.spec.transforms import TransformationMeta
from platestore.spec.values import Json
from platestore.spec.versions import NAMESPACE as NAMESPACE
from platestore.spec.well import ImageMeta


class PreviousTransform(Model):
    """Transformations that ``set_scale`` replaced.

    Attributes
    ----------
    image : str
        The image, or ``"*"`` for the whole position.
    transforms : list of TransformationMeta
        What was there before.
    modified : str
        When, as an ISO 8601 time in UTC.
    """

    image: str
    transforms: list[TransformationMeta]
    modified: str


class Intent(OptionalModel):
    """A change that needs more than one file, as recorded before its first step.

    Attributes
    ----------
    operation : str
        ``"move"``, ``"delete"``, ``"delete-position"``, ``"replace"``, ``"append-channel"``,
        ``"add-images"``, ``"pyramid"``, ``"resize"`` or ``"axes-case"``.
    id : str
        Identifier of this change.
    path : str
        What it is about, relative to the group that holds the record.
    target : str, optional
        Where ``path`` is moved, or from where the replacement of ``path`` comes.
    entry : dict, optional
        The entry to be listed when the files are in place.
    images : dict, optional
        For ``add-images``: the fields to list, by well.
    arrays : dict, optional
        For ``append-channel``: the number of channels that each array gets.
    shapes : dict, optional
        For ``resize`` and ``append-channel``: the shape that each array gets, in this order.
    regions : dict, optional
        For ``resize``: by label image, the regions on which its levels depend anew.
    levels : dict, optional
        For ``delete``: by label image, the level that goes with the one that is deleted.
    """

    operation: str
    id: str
    path: str
    target: str | None = None
    entry: Json | None = None
    images: dict[str, list[ImageMeta]] | None = None
    arrays: dict[str, int] | None = None
    shapes: dict[str, list[int]] | None = None
    regions: dict[str, list[list[list[int]]]] | None = None
    levels: dict[str, str] | None = None


class LevelMove(Model):
    """A level that an unfinished pyramid is to get.

    Attributes
    ----------
    path : str
        Its place.
    staged : str
        Where it was built.
    transform : list of TransformationMeta
        Its transformations.
    """

    path: str
    staged: str
    transform: list[TransformationMeta]


class BaseEntry(Model):
    """A level 0 that comes with its levels.

    Attributes
    ----------
    staged : str or None
        Where it was built; None if it lies in its place already.
    shape : list of int
        Its shape.
    dtype : str
        Name of its data type.
    transform : list of TransformationMeta
        Its transformations.
    place : dict or None
        Where the image was listed that it replaces, if it does.
    """

    staged: str | None
    shape: list[int]
    dtype: str
    transform: list[TransformationMeta]
    place: Json | None = None


class PyramidEntry(OptionalModel):
    """The entry of the intent ``"pyramid"``: what is to be moved and listed.

    Attributes
    ----------
    removed : list of str
        Former levels that no new one replaces.
    method : str
        How windows were reduced.
    factors : list of list of int
        Factors of each step, one per level.
    base : BaseEntry, optional
        Level 0, if it is new too.
    levels : list of LevelMove
        The levels, from the finest.
    incomplete : bool, optional
        Whether they have no pixels yet.
    """

    removed: list[str]
    method: str
    factors: list[list[int]]
    base: BaseEntry | None = None
    levels: list[LevelMove]
    incomplete: bool | None = None

    @model_validator(mode="after")
    def _one_step_per_level(self) -> PyramidEntry:
        if len(self.factors) != len(self.levels):
            raise ValueError("as many factors as levels are needed")
        return self

    def paths(self) -> list[str]:
        """All paths that are moved or removed."""
        staged = [] if self.base is None or self.base.staged is None else [self.base.staged]
        return [*(p for level in self.levels for p in (level.path, level.staged)), *self.removed, *staged]


def pyramid_entry(intent: Intent, *, document: str) -> PyramidEntry:
    """What an unfinished pyramid's record says.

    Raises
    ------
    InvalidMetadataError
        If it is damaged.
    """
    try:
        return PyramidEntry.model_validate(intent.entry)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("entry", *first["loc"])))
        raise InvalidMetadataError(
            f"the record of an unfinished pyramid is damaged: {place}: {first['msg']}", path=document
        ) from None


def check_intent(intent: Intent, *, document: str) -> None:
    """Refuse an intent whose paths leave the group that records it.

    Raises
    ------
    InvalidMetadataError
        If one does: completing it would move or delete what is not of the store.
    """
    bare = ("add-images", "append-channel", "axes-case")
    paths = [intent.path] if intent.operation not in bare else []
    paths += [intent.target] if intent.target is not None else []
    paths += [*(intent.arrays or {}), *(intent.images or {}), *(intent.shapes or {}), *(intent.regions or {})]
    paths += [path for level in (intent.levels or {}).items() for path in level]
    paths += [image.path for images in (intent.images or {}).values() for image in images]
    if intent.operation == "pyramid":
        paths += pyramid_entry(intent, document=document).paths()
    for path in paths:
        split_path(path, location=f"platestore.intents ({intent.operation})", document=document)


class OwnMeta(OptionalModel):
    """The attributes under ``platestore``.

    Attributes
    ----------
    version : str, optional
        OME-NGFF version of a group whose OME document could not be valid yet.
    channel_names : list of str, optional
        Channel names that new positions of a plate get.
    axes : list of AxisMeta, optional
        Axes that new positions of a plate get.
    plate_format : int, optional
        Number of wells of the physical plate, if it was declared.
    previous_transforms : list of PreviousTransform, optional
        The transformations that ``set_scale`` replaced.
    xarray_attrs : dict, optional
        Attributes of labelled arrays that were written, by image.
    intents : list of Intent
        Multi-file changes under way.
    """

    version: str | None = None
    channel_names: list[str] | None = None
    axes: list[Axis] | None = None
    plate_format: int | None = None
    previous_transforms: list[PreviousTransform] | None = None
    xarray_attrs: dict[str, Json] | None = None
    intents: list[Intent] | None = Field(default=None)

    def attrs_of(self, image: str) -> Json:
        """The attributes that were written with an image as a labelled array."""
        return copy.deepcopy((self.xarray_attrs or {}).get(image) or {})

    def keep_attrs(self, image: str, attrs: Json) -> None:
        """Keep the attributes of an image; without any, nothing is kept."""
        kept = {**(self.xarray_attrs or {}), image: attrs}
        self.xarray_attrs = {name: values for name, values in kept.items() if values} or None
