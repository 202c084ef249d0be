"""A position (field of view) and its label images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from platestore.arrays.options import LayoutOptions, PyramidOptions
from platestore.nodes.image import ImageNode
from platestore.nodes.node import NGFFNode, over, shown
from platestore.spec.labels import LabelImageMeta, LabelsMeta
from platestore.tree.image import LABELS, ImageEditor, LabelImageEditor, LabelsEditor, TiledEditor
from platestore.tree.removal import delete_label

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.acquisition.extent import Extent
    from platestore.acquisition.frames import Frames
    from platestore.arrays.codecs import CompressorLike
    from platestore.arrays.image import ImageArray
    from platestore.arrays.layout import Shards
    from platestore.arrays.tiled import TiledImageArray
    from platestore.spec.transforms import TransformationMeta


class Position(ImageNode, editor=ImageEditor):
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

    def _ipython_key_completions_(self) -> list[str]:
        """Keys that IPython offers: arrays and label images."""
        return [*self._editor.names(), *(f"{LABELS}/{name}" for name in self.label_names)]

    @property
    def frames(self) -> Frames:
        """What an acquisition said of each frame, in columns; also while it runs.

        Returns
        -------
        Frames
            A mapping of names to arrays with one value per frame: ``t``, ``c`` and ``z``, which say where the
            frame is, and what else was said (``"time_s"``, ``"x_um"``, ...). Empty columns for an image that
            was not acquired by :mod:`platestore.acquisition`.
        """
        from platestore.acquisition.frames import read_frames

        return read_frames(self._editor.location)

    @property
    def extent(self) -> Extent:
        """How much of the image is there while it is being acquired.

        Returns
        -------
        Extent
            ``time_points`` that are complete, from the first one on: what lies below can be read, and stays
            as it is. It only grows. ``running`` says whether more may come.
        """
        from platestore.acquisition.extent import read_extent

        return read_extent(self._editor)

    def create_labels_group(self) -> LabelsGroup:
        """Create the group that lists the label images, if it is not there yet.

        Returns
        -------
        LabelsGroup
            It lists nothing when it is new.

        Raises
        ------
        ReadOnlyError
            If it would have to be created, and the store was opened for reading.
        NodeExistsError
            If there is data in its place that is no group.

        Examples
        --------
        >>> group = position.create_labels_group()
        >>> group.keys()
        []
        """
        from platestore.images.label_creation import ensure_labels_group

        group: LabelsGroup = over(self._editor.labels_group or ensure_labels_group(self._editor))
        return group

    @property
    def labels_group(self) -> LabelsGroup | None:
        """The group of the label images, or None if there is none."""
        return over(self._editor.labels_group)  # type: ignore[no-any-return]

    @property
    def label_names(self) -> list[str]:
        """Names of the label images, in the order of the metadata."""
        return self._editor.label_names

    @property
    def has_labels(self) -> bool:
        """Whether there is a label image."""
        return bool(self.label_names)

    def labels(self) -> Iterator[tuple[str, LabelImage]]:
        """Iterate over the label images, in the order of the metadata.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and LabelImage
            Name and node.

        Examples
        --------
        >>> nuclei = position.create_label("nuclei", np.ones((1, 1, 4, 64, 64), "uint8"))
        >>> for name, label in position.labels():
        ...     print(name, label["0"].shape)
        nuclei (1, 1, 4, 64, 64)
        """
        return shown(self._editor.labels())

    def get_label(self, name: str) -> LabelImage:
        """Get a label image.

        Parameters
        ----------
        name : str
            Its name, as listed.

        Returns
        -------
        LabelImage

        Raises
        ------
        NodeKeyError
            If no label image of this name is listed.
        DanglingError
            If it is listed, but not there.

        Examples
        --------
        >>> nuclei = position.create_label("nuclei", np.ones((1, 1, 4, 64, 64), "uint8"))
        >>> position.get_label("nuclei")["0"].dtype
        dtype('uint8')
        """
        label: LabelImage = over(self._editor.get_label(name))
        return label

    def create_label(
        self,
        name: str,
        data: npt.ArrayLike,
        colors: Mapping[int, Sequence[int]] | Sequence[Mapping[str, Any]] | None = None,
        properties: Mapping[int, Mapping[str, Any]] | Sequence[Mapping[str, Any]] | None = None,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        pyramid_levels: int | str | None = None,
        *,
        shards: Sequence[int] | str | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
        pyramid_method: str | None = None,
    ) -> LabelImage:
        """Create a label image: its pixels, its levels, and then its entry in the list.

        It is listed when all of it is written, so no reader sees half of it. It has the axes of the
        position and the transformations of its finest level.

        Parameters
        ----------
        name : str
            Name of the label image, as for an image.
        data : array-like
            Integers, 0 for the background, with one dimension per axis of the position. Each dimension
            is that of the image or, where it does not matter, 1. A channel axis may be left out; it is
            written with length 1.
        colors : dict or list of dict, optional
            How values are shown: ``{1: (255, 0, 0)}`` or ``[{"label-value": 1, "rgba": [255, 0, 0, 255]}]``,
            integers from 0 to 255. By default each value in ``data`` gets a color of its own; with more
            than 1,024 values, data that are not in memory, or ``{}``, only the background gets one
            (transparent), and viewers choose the others.
        properties : dict or list of dict, optional
            What is known of values: ``{1: {"area": 12}}`` or ``[{"label-value": 1, "area": 12}]``.
        chunks, shards_ratio, shards, compressor, checksum
            As for :meth:`create_image`.
        pyramid_levels : int or "auto", optional
            Number of levels, the first included; by default as many as the image has, in the same steps,
            as the specification demands.
        pyramid_method : str, optional
            How levels are made; by default with the most frequent value (``"mode"``).

        Returns
        -------
        LabelImage

        Raises
        ------
        NodeExistsError
            If it exists, unless the node was opened with ``overwriting_creation=True``.
        ArgumentError
            If a name, shape, type, color or property is wrong, or there is no image yet; nothing was
            written then.

        Examples
        --------
        >>> objects = np.zeros((1, 4, 64, 64), "uint8")  # t, z, y, x
        >>> objects[..., 10:20, 10:20] = 1
        >>> nuclei = position.create_label("nuclei", objects, {1: (255, 0, 0)}, {1: {"area": 100}})
        >>> nuclei["0"].shape, nuclei.colors[1], nuclei.properties[1]
        ((1, 1, 4, 64, 64), (255, 0, 0, 255), {'area': 100})
        """
        from platestore.images.label_creation import create_label

        options = LayoutOptions(chunks, shards_ratio, shards, compressor, checksum)
        pyramid = PyramidOptions(pyramid_levels, pyramid_method)
        label: LabelImage = over(create_label(self._editor, name, data, colors, properties, options, pyramid))
        return label

    def delete_label(self, name: str) -> None:
        """Remove a label image: its entry first, then its data.

        Raises
        ------
        NodeKeyError
            If no label image of this name is listed.

        Examples
        --------
        >>> nuclei = position.create_label("nuclei", np.ones((1, 1, 4, 64, 64), "uint8"))
        >>> position.label_names
        ['nuclei']
        >>> position.delete_label("nuclei")
        >>> position.label_names
        []
        """
        delete_label(self._editor, name)


class TiledPosition(Position, editor=TiledEditor):
    """A position with methods to create and read arrays of tiles.

    The layout is not part of OME-NGFF, so it cannot be inferred: open it with ``layout="tiled"``.
    Its arrays are :class:`TiledImageArray`, whose chunks are the tiles.
    """

    def make_tiles(
        self,
        name: str,
        grid_shape: tuple[int, int],
        tile_shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        transform: list[TransformationMeta] | None = None,
        chunk_dims: int = 2,
        *,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
    ) -> TiledImageArray:
        """Make a tiled image of zeros.

        Parameters
        ----------
        name : str
            Name of the array.
        grid_shape : tuple of int
            Number of rows and columns of tiles.
        tile_shape : tuple of int
            Shape of a tile, with one dimension per axis.
        dtype : dtype-like
            Data type.
        transform : list of TransformationMeta, optional
            Coordinate transformations; a scale of ones by default.
        chunk_dims : int
            How many of the last dimensions of a tile a chunk spans; by default Y and X.
        chunks : sequence of int, optional
            Chunk shape, instead of ``chunk_dims``; it must be that of a tile in Y and X.
        shards_ratio, shards, compressor, checksum
            As for :meth:`create_image`.

        Returns
        -------
        TiledImageArray
            Of shape ``(..., rows * Y, columns * X)``.

        Raises
        ------
        ArgumentError
            If a shape is wrong.

        Examples
        --------
        >>> mosaic = ps.open_ome_zarr("mosaic.zarr", layout="tiled", mode="w-", channel_names=["DAPI"])
        >>> tiles = mosaic.make_tiles("0", grid_shape=(2, 3), tile_shape=(1, 1, 1, 64, 64), dtype="uint16")
        >>> tiles.shape, tiles.tiles
        ((1, 1, 1, 128, 192), (2, 3))
        """
        from platestore.images.creation import create_tiles

        options = LayoutOptions(chunks, shards_ratio, shards, compressor, checksum)
        array: Any = create_tiles(
            self._editor, name, grid_shape, tile_shape, dtype, transform, chunk_dims, options
        )
        return array  # type: ignore[no-any-return]


class LabelImage(Position, editor=LabelImageEditor):
    """A multiscale image of whole numbers, one for each object in the image it belongs to.

    It has what a :class:`Position` has; its arrays are of integer type, and its levels are made with
    the most frequent value (``"mode"``) unless another method is named. It is created by
    ``position.create_label(...)`` and reached by ``position.get_label(name)``,
    ``position["labels/name"]`` or ``open_ome_zarr(".../labels/name")``.
    """

    _editor: LabelImageEditor

    def compute_pyramid(
        self, levels: int | str | None = None, method: str = "mode", *args: Any, **kwargs: Any
    ) -> None:
        """Compute the levels from level 0: as for a position, but with ``"mode"`` by default.

        Examples
        --------
        >>> nuclei = position.create_label("nuclei", np.ones((1, 1, 4, 64, 64), "uint8"), pyramid_levels=2)
        >>> nuclei["0"][:] = 5
        >>> nuclei.compute_pyramid()
        >>> np.unique(nuclei["1"])
        array([5], dtype=uint8)
        """
        super().compute_pyramid(levels, method, *args, **kwargs)

    @property
    def metadata(self) -> LabelImageMeta:
        """The node's metadata model. Edits of it are written by :meth:`dump_meta`."""
        meta = super().metadata
        assert isinstance(meta, LabelImageMeta)
        return meta

    @property
    def colors(self) -> dict[int, tuple[int, ...]]:
        """Red, green, blue and opacity (0 to 255) by label value, where the document says them."""
        found = self._editor.label_meta.colors or ()
        # Of two entries for one value the last counts, as the specification has it.
        return {c.label_value: tuple(c.rgba) for c in found if c.rgba is not None}

    @property
    def properties(self) -> dict[int, dict[str, Any]]:
        """What the document says about label values, by value."""
        found = self._editor.label_meta.properties or ()
        return {p.label_value: {k: v for k, v in p.to_json().items() if k != "label-value"} for p in found}

    @property
    def source(self) -> str:
        """Path of the image that is annotated, relative to the label image."""
        return self._editor.source

    def create_image(self, name: str, data: npt.ArrayLike, *args: Any, **kwargs: Any) -> ImageArray:
        """Create an array (a level) and write its pixels, which must be integers.

        The parameters are those of :meth:`Position.create_image`.

        Raises
        ------
        ArgumentError
            If the data type is no integer type, or as for :meth:`Position.create_image`.

        Examples
        --------
        >>> nuclei = position.create_label("nuclei", np.ones((1, 1, 4, 64, 64), "uint8"))
        >>> nuclei.create_image("1", np.ones((1, 1, 2, 32, 32), "float32"))
        Traceback (most recent call last):
            ...
        platestore.errors.ArgumentError: label images hold integers, not float32 ...
        """
        import numpy as np

        from platestore.images.label_creation import check_label_dtype

        check_label_dtype(data.dtype if hasattr(data, "dtype") else np.asarray(data).dtype)
        return super().create_image(name, data, *args, **kwargs)

    def create_zeros(
        self, name: str, shape: Sequence[int], dtype: npt.DTypeLike, *args: Any, **kwargs: Any
    ) -> ImageArray:
        """Create an array (a level) of zeros, of an integer type.

        The parameters are those of :meth:`Position.create_zeros`.

        Raises
        ------
        ArgumentError
            If the data type is no integer type, or as for :meth:`Position.create_zeros`.

        Examples
        --------
        >>> nuclei = position.create_label("nuclei", np.ones((1, 1, 4, 64, 64), "uint8"))
        >>> nuclei.create_zeros("1", (1, 1, 2, 32, 32), "float32")
        Traceback (most recent call last):
            ...
        platestore.errors.ArgumentError: label images hold integers, not float32 ...
        """
        from platestore.images.label_creation import check_label_dtype

        check_label_dtype(dtype)
        return super().create_zeros(name, shape, dtype, *args, **kwargs)

    def __delitem__(self, key: int | str) -> None:
        """Remove an array; a level goes with that of the image, if both have as many.

        Raises
        ------
        ArgumentError
            If the image has a level that belongs to it.
        """
        super().__delitem__(key)


class LabelsGroup(NGFFNode[LabelsMeta], editor=LabelsEditor):
    """The group of a position's label images: their names, in order.

    It is created by ``position.create_labels_group()`` and reached by ``position.labels_group``.
    """

    _editor: LabelsEditor

    @property
    def own_list(self) -> list[str] | None:
        """The label images that its own document lists; None if it has no list."""
        return self._editor.own_list

    def __getitem__(self, key: int | str) -> Any:
        """Get a label image by name, or an array below it by path.

        Raises
        ------
        NodeKeyError
            If the group lists no such label image.
        """
        return super().__getitem__(key)

    def labels(self) -> Iterator[tuple[str, LabelImage]]:
        """Iterate over the label images, in the order of the metadata.

        One that cannot be opened is reported by a warning, and the others follow.

        Yields
        ------
        tuple of str and LabelImage
            Name and node.

        Examples
        --------
        >>> nuclei = position.create_label("nuclei", np.ones((1, 1, 4, 64, 64), "uint8"))
        >>> [name for name, _ in position.labels_group.labels()]
        ['nuclei']
        """
        return shown(self._editor.labels())

    def __delitem__(self, key: int | str) -> None:
        """Remove a label image (its entry first, then its data), or an array below it.

        Raises
        ------
        NodeKeyError
            If the group lists no such label image.
        """
        super().__delitem__(key)
