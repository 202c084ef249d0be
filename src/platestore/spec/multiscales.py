"""Multiscale images: datasets (resolution levels) and the position's whole document."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from platestore.spec import rules
from platestore.spec.axes import Axis, axes_findings
from platestore.spec.base import LENIENT_TEXT, Model, OptionalModel
from platestore.spec.findings import Finding
from platestore.spec.omero import OMEROMeta
from platestore.spec.transforms import TransformationMeta, transform_findings
from platestore.spec.values import Json


class DatasetMeta(Model):
    """One resolution level of an image.

    Attributes
    ----------
    path : str
        Path of the array, relative to the image group.
    coordinate_transformations : list of TransformationMeta
        From array indices to the image's physical space.
    """

    path: str
    coordinate_transformations: list[TransformationMeta] = Field(
        default_factory=list, alias="coordinateTransformations"
    )


class MultiScaleMeta(OptionalModel):
    """One multiscale image: axes, and datasets from the finest to the coarsest.

    Attributes
    ----------
    version : str, optional
        OME-NGFF version, written here in 0.4 only.
    axes : list of AxisMeta
        Axes of all datasets, slowest first.
    datasets : list of DatasetMeta
        The resolution levels.
    name : str, optional
        Name of the image.
    coordinate_transformations : list of TransformationMeta, optional
        Applied after those of each dataset.
    type : str, optional
        Method that made the coarser levels; ``"none"`` for a single level.
    metadata : dict, optional
        Parameters of that method.
    """

    model_config = LENIENT_TEXT

    version: str | None = None
    axes: list[Axis]
    datasets: list[DatasetMeta]
    name: str | None = None
    coordinate_transformations: list[TransformationMeta] | None = Field(
        default=None, alias="coordinateTransformations"
    )
    type: str | None = None
    metadata: Json | None = None

    def get_dataset_paths(self) -> list[str]:
        """Paths of the datasets, from the finest to the coarsest.

        Examples
        --------
        >>> position.compute_pyramid(levels=3)
        >>> position.metadata.multiscales[0].get_dataset_paths()
        ['0', '1', '2']
        """
        return [dataset.path for dataset in self.datasets]

    def dataset(self, path: str) -> DatasetMeta | None:
        """The dataset of this path, or None.

        Examples
        --------
        >>> position.metadata.multiscales[0].dataset("0").coordinate_transformations[0].scale
        [1.0, 1.0, 1.0, 1.0, 1.0]
        """
        return next((d for d in self.datasets if d.path == path), None)


class ImagesMeta(OptionalModel):
    """The metadata of an image group (a position): multiscales and rendering.

    Attributes
    ----------
    multiscales : list of MultiScaleMeta
        The images; the first is the one viewers show.
    omero : OMEROMeta, optional
        Channels and rendering settings.
    """

    multiscales: list[MultiScaleMeta]
    omero: OMEROMeta | None = None

    def find(self, path: str) -> tuple[MultiScaleMeta, DatasetMeta] | None:
        """The multiscales and the dataset that list an array, or None.

        Examples
        --------
        >>> multiscales, dataset = position.metadata.find("0")
        >>> [axis.name for axis in multiscales.axes], dataset.path
        (['t', 'c', 'z', 'y', 'x'], '0')
        """
        for image in self.multiscales:
            dataset = image.dataset(path)
            if dataset is not None:
                return image, dataset
        return None

    def paths(self) -> list[str]:
        """Paths of all listed arrays, in the order of the document.

        Examples
        --------
        >>> position.compute_pyramid(levels=3)
        >>> position.metadata.paths()
        ['0', '1', '2']
        """
        return [d.path for image in self.multiscales for d in image.datasets]

    def findings(self) -> Iterable[Finding]:
        """Rules of axes, datasets, transformations and colours that the document breaks."""
        yield from rules.multiscales(len(self.multiscales), "multiscales")
        for i, image in enumerate(self.multiscales):
            yield from _image_findings(image, f"multiscales[{i}]")
        for i, channel in enumerate(self.omero.channels if self.omero is not None else ()):
            yield from rules.channel_color(channel.color, f"omero.channels[{i}].color")


def _image_findings(image: MultiScaleMeta, location: str) -> Iterable[Finding]:
    ndim = len(image.axes)
    yield from axes_findings(image.axes, f"{location}.axes")
    yield from rules.datasets([dataset.path for dataset in image.datasets], f"{location}.datasets")
    for i, dataset in enumerate(image.datasets):
        where = f"{location}.datasets[{i}].coordinateTransformations"
        yield from transform_findings(dataset.coordinate_transformations, ndim, where)
    if image.coordinate_transformations is not None:
        where = f"{location}.coordinateTransformations"
        yield from transform_findings(image.coordinate_transformations, ndim, where)
