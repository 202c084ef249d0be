"""One level of an image, the metadata of all of them, and how they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from platestore.spec.axes import AxisMeta
from platestore.spec.base import AS_STORED
from platestore.spec.multiscales import DatasetMeta, MultiScaleMeta
from platestore.spec.omero import OMEROMeta
from platestore.spec.transforms import TransformationMeta

if TYPE_CHECKING:
    from platestore.multiscales.factors import LevelStep
    from platestore.spec.orientation import AnatomicalOrientation


@dataclass(frozen=True, slots=True)
class Made:
    """A dask array as it was made, to be told from any other that has its name.

    Dask arrays that were persisted, optimised, or read again keep their names and have another graph, which
    may hold other pixels. So the graph itself is remembered, and only that very graph counts as the same.

    Attributes
    ----------
    name : str
        Its name.
    graph : object
        Its graph.
    """

    name: str
    graph: Any

    @classmethod
    def of(cls, array: Any) -> Made:
        """Remember a dask array."""
        return cls(array.name, array.dask)

    def is_still(self, data: Any) -> bool:
        """Whether an array is the one that was made."""
        return getattr(data, "dask", None) is self.graph and data.name == self.name


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a dask array was made of: a source, or an array in memory."""

    made: Made
    pixels: Any


@dataclass(eq=False)
class NgffImage:
    """One level of an image: pixels and what they mean.

    Attributes
    ----------
    data : array
        Pixels: a dask array where this library made it, or any other array.
    dims : sequence of str
        Name of each axis: "t", "c", "z", "y", "x".
    scale : dict
        Distance of pixels in physical units, by axis; 1 for axes that are not named.
    translation : dict
        Place of the first pixel, by axis; 0 for axes that are not named.
    name : str
        Name of the image.
    axes_units : mapping, optional
        Unit by axis.
    axes_orientations : mapping, optional
        Anatomical orientation by spatial axis.
    axes_types : mapping, optional
        Type by axis, where it is not the usual one.
    channel_names : list of str, optional
        Names of the channels.
    channel_colors : list of str, optional
        Colours of the channels, six hexadecimal digits each.
    computed_callbacks : list of callable
        Called, without arguments, when the image was written.
    """

    data: Any
    dims: Sequence[str]
    scale: dict[str, float]
    translation: dict[str, float]
    name: str = "image"
    axes_units: Mapping[str, str] | None = None
    axes_orientations: Mapping[str, AnatomicalOrientation] | None = None
    axes_types: Mapping[str, str] | None = None
    channel_names: list[str] | None = None
    channel_colors: list[str] | None = None
    computed_callbacks: list[Callable[[], None]] = field(default_factory=list)
    _kept: _Kept | None = field(default=None, init=False, repr=False)
    # Rendering settings of the image that it was read from.
    _omero: OMEROMeta | None = field(default=None, init=False, repr=False)

    def _keep(self, pixels: Any) -> None:
        """Remember what the dask array was made of, which is read without dask."""
        self._kept = _Kept(Made.of(self.data), pixels)

    def _pixels(self) -> Any:
        """The pixels as they are best read: what ``data`` was made of, if it is still that."""
        kept = self._kept
        return kept.pixels if kept is not None and kept.made.is_still(self.data) else self.data


@dataclass(frozen=True, slots=True)
class LevelsRecipe:
    """How levels are made.

    Attributes
    ----------
    levels : list of LevelStep
        The levels after the first.
    method : str
        How windows are reduced.
    made : list of Made
        The levels' arrays as they were made, the first included.
    """

    levels: list[LevelStep]
    method: str
    made: list[Made]


class Dataset(DatasetMeta):
    """One resolution level in the metadata."""

    @property
    def coordinateTransformations(self) -> list[TransformationMeta]:  # noqa: N802 - as the specification has it
        """From pixels to physical units: a scale, then a translation."""
        return self.coordinate_transformations


class Metadata(MultiScaleMeta):
    """Metadata of a multiscale image.

    Attributes
    ----------
    datasets : list of Dataset
        The levels, from the finest to the coarsest.
    omero : OMEROMeta, optional
        Channels and rendering settings.
    """

    datasets: list[Dataset] = Field(default_factory=list)  # type: ignore[assignment]
    omero: OMEROMeta | None = None

    @property
    def coordinateTransformations(self) -> list[TransformationMeta] | None:  # noqa: N802 - as above
        """Transformations that follow those of the levels."""
        return self.coordinate_transformations

    @property
    def dimension_names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(axis.name for axis in self.axes)

    def image(self) -> MultiScaleMeta:
        """The part that the specification's list of images holds.

        Examples
        --------
        >>> from platestore.multiscales import from_ngff_zarr
        >>> metadata = from_ngff_zarr("plate.zarr/A/1/0").metadata
        >>> [axis.name for axis in metadata.image().axes]
        ['t', 'c', 'z', 'y', 'x']
        """
        content = self.model_dump(by_alias=True, exclude={"omero"})
        return MultiScaleMeta.model_validate(content, context=AS_STORED)


def make_metadata(
    image: NgffImage, axes: Sequence[AxisMeta], transforms: Sequence[Sequence[TransformationMeta]]
) -> Metadata:
    """Metadata of an image whose levels are called "0", "1", ....

    Parameters
    ----------
    image : NgffImage
        Level 0.
    axes : sequence of AxisMeta
        Axes.
    transforms : sequence of sequence of TransformationMeta
        Transformations of each level.
    """
    datasets = [Dataset(path=str(i), coordinate_transformations=list(t)) for i, t in enumerate(transforms)]
    return Metadata(axes=list(axes), datasets=datasets, name=image.name)
