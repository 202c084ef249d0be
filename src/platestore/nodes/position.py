"""A position (field of view): one image group, its arrays, channels and transformations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from platestore.errors import (
    InvalidMetadataError,
    NodeKeyError,
)
from platestore.nodes.channels import Channels
from platestore.nodes.doors import Doors
from platestore.nodes.draft import Draft
from platestore.nodes.labelling import LABELS, Labelled
from platestore.nodes.node import NGFFNode
from platestore.nodes.pyramids import Pyramids
from platestore.nodes.shapes import Shapes
from platestore.spec import edits, versions
from platestore.spec.axes import AxisMeta
from platestore.spec.base import read_model
from platestore.spec.findings import Finding
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.names import normalise_key, split_path
from platestore.spec.own import Intent, OwnMeta
from platestore.spec.transforms import TransformationMeta, positive_scale
from platestore.spec.versions import Kind
from platestore.storage.base import join
from platestore.storage.hierarchy import ArrayDocument, find_array, group_exists, read_array

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.arrays.codecs import CompressorLike
    from platestore.arrays.image import ImageArray
    from platestore.arrays.layout import Shards
    from platestore.arrays.planning import LayoutPlan
    from platestore.progress import Progress
    from platestore.pyramid.geometry import Step


class Position(Doors, Labelled, Pyramids, Shapes, Channels, NGFFNode[ImagesMeta]):
    """The group that directly holds the arrays of one multiscale image.

    Parameters
    ----------
    group : zarr.Group
        The group.
    parse_meta : bool
        Whether to read its metadata.
    channel_names : list of str, optional
        Channel names of a position that has none yet.
    axes : list of AxisMeta, optional
        Axes of a position that has none yet.
    overwriting_creation : bool
        Whether creating an image that exists replaces it.
    """

    _kind: ClassVar[Kind] = "image"
    # Whether the document's rendering settings could not be read, and stay as they are.
    _omero_kept = False

    # --- document ---------------------------------------------------------------------------------

    def _parse(self, attributes: Mapping[str, Any]) -> tuple[ImagesMeta, OwnMeta, list[Finding]]:
        zarr_format = self._location.zarr_format
        if "multiscales" not in versions.unpack(attributes, zarr_format, self._kind):
            content = {"attributes": attributes} if zarr_format == 3 else attributes
            elsewhere = versions.misplaced(content, zarr_format)
            if elsewhere is not None:
                raise InvalidMetadataError(elsewhere, path=self._location.where, hint="move it there")
        return super()._parse(attributes)

    def _parse_parts(self, parts: Mapping[str, Any]) -> tuple[ImagesMeta, list[Finding]]:
        where = self._location.where
        if "multiscales" not in parts:
            # A position that another tool left empty.
            axes = super().axes
            return edits.empty_image(axes, self._given_names or [], self._location.name), []
        try:
            return self._checked(*read_model(ImagesMeta, parts, location="image", path=where))
        except InvalidMetadataError as error:
            if "omero" not in parts or ".omero" not in str(error):
                raise
            # Rendering settings are no reason to keep the pixels from anyone.
            self._omero_kept = True
            images = {"multiscales": parts["multiscales"]}
            meta, findings = self._checked(*read_model(ImagesMeta, images, location="image", path=where))
            return meta, [*findings, Finding("omero", "omero", f"is ignored: {error.message}")]

    def _checked(self, meta: ImagesMeta, findings: list[Finding]) -> tuple[ImagesMeta, list[Finding]]:
        if not meta.multiscales:
            raise InvalidMetadataError("'multiscales' lists no image", path=self._location.where)
        for i, image in enumerate(meta.multiscales):
            for j, dataset in enumerate(image.datasets):
                field = f"multiscales[{i}].datasets[{j}].path"
                split_path(dataset.path, location=field, document=self._location.where)
        return meta, findings

    def _parts(self, meta: ImagesMeta) -> dict[str, Any]:
        parts = meta.to_json()
        if meta.omero is None and not self._omero_kept:
            parts["omero"] = None  # taken out, and not just unreadable
        return parts

    def _member_findings(self, former: ImagesMeta, meta: ImagesMeta) -> Iterator[Finding]:
        """Arrays that a document edited by hand lists anew, or with other axes, and that do not fit it."""
        from platestore.nodes.levels import misfits

        return misfits(self._location, former, meta)

    def _summary(self) -> str:
        if self._meta is None:
            return ""
        return f" images={self._meta.paths()} channels={self.channel_names}"

    # --- names and axes ---------------------------------------------------------------------------

    @property
    def axes(self) -> list[AxisMeta]:
        """The axes, slowest first."""
        return list(self._state().multiscales[0].axes)

    @property
    def zattr(self) -> MutableMapping[str, Any]:
        """Attributes of the group, as :attr:`zattrs`."""
        return self.zattrs

    @property
    def axis_names(self) -> list[str]:
        """Names of the axes in lower case."""
        return [axis.name.lower() for axis in self.axes]

    def set_axes_case(self, case: Literal["lower"]) -> None:
        """Put the names of the axes, of label images too, into lower case, as some readers demand.

        Documents change, with the ``dimension_names`` of arrays; pixels do not. An interrupted change is
        completed by the next one of the position.

        Parameters
        ----------
        case : {"lower"}
            The case.
        """
        from platestore.nodes.axes_case import check_axes_case, set_position_axes

        check_axes_case(case)
        set_position_axes(self)

    # --- images -----------------------------------------------------------------------------------

    def _keys(self) -> list[str]:
        return self._state().paths()

    def _ipython_key_completions_(self) -> list[str]:
        """Keys that IPython offers: arrays and label images."""
        return [*self._keys(), *(f"{LABELS}/{name}" for name in self.label_names)]

    def __contains__(self, key: object) -> bool:
        return (
            isinstance(key, (str, int)) and not isinstance(key, bool) and self._name_of(key) in self._keys()
        )

    def _name_of(self, key: int | str) -> str:
        """The name of an array: a string is one; an integer is an image's name, or the index of a level."""
        if isinstance(key, int) and not isinstance(key, bool):
            images = [image.datasets for image in self._state().multiscales]
            if not any(d and d[0].path == str(key) for d in images) and 0 <= key < len(images[0]):
                return normalise_key(images[0][key].path)
        return normalise_key(key)

    def _array_document(self, path: str) -> ArrayDocument:
        """Read the document of an array that the metadata lists."""
        location = self._location.child(path)
        location.storage.check_links(location.path, writing=False)
        document = find_array(location.storage, location.path, location.zarr_format)
        if document is None:
            hint = "remove the entry with `del position[name]`, or restore the array"
            raise self._gone(path, "is listed in the metadata, but there is no such array", hint)
        return document

    def __getitem__(self, key: int | str) -> Any:
        """Get an image array, or a node below this one.

        Parameters
        ----------
        key : int or str
            Name of the array, or a path such as ``"labels/nuclei/0"``. An integer is the index of a level,
            whatever its name (0 for the finest), unless an image of its own has it as its name.

        Returns
        -------
        ImageArray
            The array; a :class:`LabelImage` or a :class:`Position` where the path is that of a group.

        Raises
        ------
        NodeKeyError
            If there is no such member.
        """
        from platestore.arrays.image import open_array
        from platestore.nodes.reshaping import Keeper

        path = self._name_of(key)
        meta = self._state()
        listed = meta.find(path)
        if listed is not None:
            document = self._array_document(path)
            names = [axis.name for axis in listed[0].axes]
            keeper = Keeper(self, path)
            return open_array(self._location.storage, document, names, self._array_class(), keeper)
        return self._unlisted(path)

    def _array_class(self) -> type[ImageArray]:
        from platestore.arrays.image import ImageArray

        return ImageArray

    def _unlisted(self, path: str) -> Any:
        from platestore.arrays.image import open_array

        location = self._location.child(path)
        storage = location.storage
        storage.check_links(location.path, writing=False)
        parent, _, name = path.rpartition("/")
        if path and group_exists(storage, location.path, location.zarr_format):
            return self._open_group(path)
        if path and read_array(storage, location.path, location.zarr_format) is not None:
            if parent and group_exists(storage, join(self._location.path, parent), location.zarr_format):
                return self._open_group(parent)[name]
            return open_array(storage, self._array_document(path), self.axis_names, self._array_class())
        listed = ", ".join(self._keys()) or "none"
        raise NodeKeyError(f"there is no image {path!r}", path=self._location.where, hint=f"images: {listed}")

    @property
    def data(self) -> ImageArray:
        """The finest level, whatever its name: ``position[0]``.

        Where there are several images, that named "0", or else the first.

        Raises
        ------
        NodeKeyError
            If there is no image.
        """
        image: ImageArray = self[0]
        return image

    def images(self) -> Iterator[tuple[str, ImageArray]]:
        """Iterate over the listed arrays.

        One that is listed but absent is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and ImageArray
            Name and array.
        """
        return self._open_each(self._keys(), self.__getitem__)

    def create_image(
        self,
        name: str,
        data: npt.ArrayLike,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        transform: list[TransformationMeta] | None = None,
        check_shape: bool = True,
        *,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
        pyramid_levels: int | str | None = None,
        pyramid_method: str | None = None,
        pyramid_factors: Sequence[Step] | None = None,
        max_memory: int | str | None = None,
        workers: int | None = None,
        progress: bool | Progress | None = None,
    ) -> ImageArray:
        """Create an image and write its pixels.

        The image is listed when all its pixels are written, so no reader sees half of it.

        Parameters
        ----------
        name : str
            Name of the array.
        data : array-like
            Pixels, with one dimension per axis. Those of dask and zarr arrays (and of any
            :class:`~platestore.arrays.sources.Source`) are read box by box, each block once where the budget
            allows it.
        chunks : sequence of int, optional
            Chunk shape; a whole ZYX stack (of at most 256 MiB) by default.
        shards_ratio : sequence of int, optional
            Chunks per shard along each dimension (0.5 only); no shards by default.
        transform : list of TransformationMeta, optional
            Coordinate transformations; a scale of ones by default. An array coarser than the last
            level joins the image as a further level if this is given.
        check_shape : bool
            Whether to hold the shape against the channel names. That it has one dimension per axis cannot be
            left out: the specification demands it, and no reader could tell the dimensions.
        shards : sequence of int, str or int, optional
            What a shard holds, instead of ``shards_ratio``: its shape, its size (``"1GB"``), or the axes
            that it spans (``"ZYX"``).
        compressor : str or codec, optional
            ``"blosc-lz4"`` (the default), ``"blosc-zstd"``, ``"zstd"``, ``"gzip"`` or ``"none"``; a level
            may follow, as in ``"zstd:9"``. In 0.4 also ``"lz4"``, ``"bz2"``, ``"lzma"`` and ``"zlib"``, which
            zarr v3 does not have. A codec of numcodecs or zarr, or the JSON of one, is taken too.
        checksum : bool
            Whether a crc32c follows each chunk (0.5 only).
        pyramid_levels : int or "auto", optional
            Number of levels to write, level 0 included, in one pass over the data; "auto" adds levels
            until Y and X are at most 256.
        pyramid_method : str, optional
            As for :meth:`compute_pyramid`.
        pyramid_factors : sequence of dict or tuple, optional
            As ``factors`` of :meth:`compute_pyramid`.
        max_memory, workers, progress
            As for :meth:`compute_pyramid`.

        Returns
        -------
        ImageArray

        Raises
        ------
        NodeExistsError
            If the image exists, unless the node was opened with ``overwriting_creation=True``.
        ArgumentError
            If a name, shape, type or transformation is wrong; nothing was written then.
        """
        from platestore.nodes.creation import create_image
        from platestore.nodes.wishes import PyramidWishes, Wishes
        from platestore.progress import shown
        from platestore.pyramid.levels import Resources

        wishes = Wishes(chunks, shards_ratio, shards, compressor, checksum)
        pyramid = PyramidWishes(pyramid_levels, pyramid_method or self._pyramid_method, pyramid_factors)
        with shown(progress, name) as tell:
            resources = Resources(max_memory, workers, tell)
            return create_image(self, name, data, wishes, transform, check_shape, pyramid, resources)

    def create_zeros(
        self,
        name: str,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        transform: list[TransformationMeta] | None = None,
        check_shape: bool = True,
        *,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
    ) -> ImageArray:
        """Create an image of zeros; only its document is written, whatever its size.

        Parameters
        ----------
        name : str
            Name of the array.
        shape : sequence of int
            Shape, with one dimension per axis.
        dtype : dtype-like
            Data type.
        chunks, shards_ratio, transform, check_shape, shards, compressor, checksum
            As for :meth:`create_image`.

        Returns
        -------
        ImageArray

        Raises
        ------
        NodeExistsError, ArgumentError
            As for :meth:`create_image`.
        """
        from platestore.nodes.creation import create_zeros
        from platestore.nodes.wishes import Wishes

        wishes = Wishes(chunks, shards_ratio, shards, compressor, checksum)
        return create_zeros(self, name, shape, dtype, wishes, transform, check_shape)

    def plan_layout(
        self,
        shape: Sequence[int] | None = None,
        dtype: npt.DTypeLike | None = None,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        *,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
    ) -> LayoutPlan:
        """Say what a layout means: files, bytes, memory per writer, and which writes rewrite others' pixels.

        Nothing is created. ``print(position.plan_layout(...))`` is made for people.

        Parameters
        ----------
        shape : sequence of int, optional
            Shape of the image; that of level 0 here by default.
        dtype : dtype-like, optional
            Data type; that of level 0 here by default.
        chunks, shards_ratio, shards, compressor, checksum
            As for :meth:`create_image`. Without any, and without a shape, the layout of level 0 as it is.

        Returns
        -------
        LayoutPlan

        Raises
        ------
        ArgumentError
            If an argument is wrong, or there is no level 0 to take the shape from.
        """
        from platestore.nodes.creation import plan_layout
        from platestore.nodes.wishes import Wishes

        wishes = Wishes(chunks, shards_ratio, shards, compressor, checksum)
        return plan_layout(self, shape, dtype, wishes)

    def __setitem__(self, key: int | str, value: Any) -> None:
        """Write an image with default settings."""
        import numpy as np

        if not isinstance(value, np.ndarray):
            raise TypeError(f"an image must be a NumPy array, not {type(value).__name__}")
        self.create_image(self._name_of(key), value)

    def __delitem__(self, key: int | str) -> None:
        """Remove an image: its entry first, then its data."""
        from platestore.nodes.removal import delete_image

        delete_image(self, self._name_of(key))

    def _relist(self, draft: Draft[ImagesMeta], intent: Intent) -> None:
        from platestore.nodes.creation import relist

        relist(draft, intent)

    def _image_key(self, image: int | str) -> str:
        """The name of an array, or "*", which stands for all."""
        return self._name_of(image) if isinstance(image, int) else str(image)

    # --- transformations --------------------------------------------------------------------------

    @property
    def scale(self) -> list[float]:
        """Effective scale of the finest level, one value per axis, in physical units per pixel."""
        datasets = self._state().multiscales[0].datasets
        return self.get_effective_scale(datasets[0].path if datasets else edits.WHOLE)

    def get_effective_scale(self, image: str | int) -> list[float]:
        """Scale of an image in physical units per pixel.

        Parameters
        ----------
        image : str or int
            Name of the image, index of a level, or ``"*"`` for the position's own scale.

        Returns
        -------
        list of float
            One value per axis: the image's scale times the position's.
        """
        return edits.effective_scale(self._state(), self._image_key(image))

    def get_effective_translation(self, image: str | int) -> list[float]:
        """Translation of an image in physical units.

        Parameters
        ----------
        image : str or int
            Name of the image, index of a level, or ``"*"`` for the position's own translation.

        Returns
        -------
        list of float
            One value per axis: the image's translation times the position's scale, plus the position's
            translation (the specification applies the dataset's transformations first).
        """
        return edits.effective_translation(self._state(), self._image_key(image))

    def set_transform(self, image: str | int, transform: list[TransformationMeta]) -> None:
        """Replace the coordinate transformations of an image or of the whole position.

        Parameters
        ----------
        image : str or int
            Name of the image, index of a level, or ``"*"`` for the position.
        transform : list of TransformationMeta
            Written as its valid equivalent: one scale, then at most one translation.

        Raises
        ------
        ArgumentError
            If there is no valid equivalent.
        NodeKeyError
            If the image is not listed.
        """
        name = self._image_key(image)
        self._commit(lambda d: edits.set_transform(d.meta, name, transform))

    def set_scale(self, image: str | int, axis_name: str, new_scale: float) -> None:
        """Set the scale of one axis.

        Parameters
        ----------
        image : str
            ``"*"`` sets the position's scale, which multiplies those of the levels. The first level
            rescales all levels on that axis; another level changes alone.
        axis_name : str
            Name of the axis, in either case.
        new_scale : float
            Physical units per pixel, positive.

        Raises
        ------
        ArgumentError
            If the axis is unknown or the scale is not positive.
        NodeKeyError
            If the image is not listed.

        Notes
        -----
        The replaced transformations are kept in ``zattrs["platestore"]["previous_transforms"]``.
        """
        axis = self.get_axis_index(axis_name)
        value = positive_scale(new_scale)
        name = self._image_key(image)
        self._commit(lambda d: edits.set_scale(d.meta, d.own, name, axis, value))
