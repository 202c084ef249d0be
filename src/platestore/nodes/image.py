"""A multiscale image: its arrays, levels, channels and transformations."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from platestore.arrays.options import LayoutOptions, PyramidOptions
from platestore.errors import ArgumentError
from platestore.nodes.node import NGFFNode, shown
from platestore.resources import Resources
from platestore.settings import resident_bytes
from platestore.spec import edits
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.omero import WindowDict, check_channel_name
from platestore.spec.transforms import TransformationMeta, positive_scale
from platestore.tree.axes_case import check_axes_case, lower_axes
from platestore.tree.channels import append_channel, rename_channel, set_window, write_models
from platestore.tree.image import ImageEditor

if TYPE_CHECKING:
    import numpy.typing as npt
    import xarray

    from platestore.arrays.codecs import CompressorLike
    from platestore.arrays.image import ImageArray
    from platestore.arrays.layout import Shards
    from platestore.arrays.planning import LayoutPlan
    from platestore.progress import Progress
    from platestore.spec.geometry import Step


class ImageNode(NGFFNode[ImagesMeta]):
    """What positions and label images have in common."""

    _editor: ImageEditor

    def dump_meta(self) -> None:
        """Write the metadata model, with the edits made to it; channels get the colour or window they lack.

        Raises
        ------
        InvalidMetadataError
            If the edits break a rule of the specification; nothing is written then.

        Examples
        --------
        >>> position.metadata.omero.channels[0].color = "00FF00"
        >>> position.dump_meta()
        >>> ps.open_ome_zarr("plate.zarr/A/1/0").metadata.omero.channels[0].color
        '00FF00'
        """
        write_models(self._editor)

    @property
    def zattr(self) -> MutableMapping[str, Any]:
        """Attributes of the group, as :attr:`zattrs`."""
        return self.zattrs

    # --- axes and arrays --------------------------------------------------------------------------

    @property
    def axis_names(self) -> list[str]:
        """Names of the axes in lower case."""
        return self._editor.axis_names

    def set_axes_case(self, case: Literal["lower"]) -> None:
        """Put the names of the axes, of label images too, into lower case, as some readers demand.

        Documents change, with the ``dimension_names`` of arrays; pixels do not. An interrupted change is
        completed by the next one of the position.

        Parameters
        ----------
        case : {"lower"}
            The case.

        Examples
        --------
        >>> axes = [ps.ChannelAxisMeta(name="C"), *(ps.SpaceAxisMeta(name=name) for name in "ZYX")]
        >>> position = ps.open_ome_zarr("old.zarr", "fov", mode="w-", channel_names=["DAPI"], axes=axes)
        >>> position["0"] = np.zeros((1, 4, 64, 64), "uint16")
        >>> position.set_axes_case("lower")
        >>> [axis.name for axis in position.axes]
        ['c', 'z', 'y', 'x']
        """
        check_axes_case(case)
        lower_axes(self._editor)

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
        # Said for editors that complete what follows `position["0"].`: it may be a node, too.
        image: ImageArray = super().__getitem__(key)
        return image

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

        Examples
        --------
        >>> position.compute_pyramid(levels=2)
        >>> for name, image in position.images():
        ...     print(name, image.shape)
        0 (1, 2, 4, 64, 64)
        1 (1, 2, 2, 32, 32)
        """
        return shown(self._editor.items())

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

        Examples
        --------
        >>> position = plate.create_position("C", "3", "0")
        >>> pixels = np.ones((1, 2, 4, 64, 64), "uint16")
        >>> image = position.create_image("0", pixels, (1, 1, 4, 32, 32), shards="ZYX", pyramid_levels=2)
        >>> image.shape, image.chunks, image.shards
        ((1, 2, 4, 64, 64), (1, 1, 4, 32, 32), (1, 1, 4, 64, 64))
        >>> position["1"].shape
        (1, 2, 2, 32, 32)
        """
        from platestore.images.creation import create_image
        from platestore.progress import shown as shown_progress

        options = LayoutOptions(chunks, shards_ratio, shards, compressor, checksum)
        pyramid = PyramidOptions(pyramid_levels, pyramid_method, pyramid_factors)
        with shown_progress(progress, name) as tell:
            resources = Resources(max_memory, workers, tell)
            return create_image(self._editor, name, data, options, transform, check_shape, pyramid, resources)

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

        Examples
        --------
        >>> position = plate.create_position("C", "3", "0")
        >>> image = position.create_zeros("0", (100, 2, 4, 64, 64), "uint16")
        >>> image[7, 1] = 5  # one stack is written, the others stay empty
        >>> image[6:9, 1, 0, 0, 0]
        array([0, 5, 0], dtype=uint16)
        """
        from platestore.images.creation import create_zeros

        options = LayoutOptions(chunks, shards_ratio, shards, compressor, checksum)
        return create_zeros(self._editor, name, shape, dtype, options, transform, check_shape)

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

        Examples
        --------
        >>> shape = (10, 2, 50, 2048, 2048)
        >>> plan = position.plan_layout(shape, "uint16", chunks=(1, 1, 1, 512, 512), shards="ZYX")
        >>> plan.chunk_count, plan.files
        (16000, 20)
        >>> print(position.plan_layout())  # of the image as it is
        array      1×2×4×64×64 (t, c, z, y, x), uint16, 64.0 KiB, zarr v3
        chunks     2 of 1×1×4×64×64, 32.0 KiB each
        files      2, the largest 32.0 KiB before compression
        ...
        """
        from platestore.images.creation import plan_layout

        options = LayoutOptions(chunks, shards_ratio, shards, compressor, checksum)
        return plan_layout(self._editor, shape, dtype, options)

    def __setitem__(self, key: int | str, value: Any) -> None:
        """Write an image with default settings."""
        import numpy as np

        if not isinstance(value, np.ndarray):
            raise TypeError(f"an image must be a NumPy array, not {type(value).__name__}")
        self.create_image(self._editor.name_of(key), value)

    def __delitem__(self, key: int | str) -> None:
        """Remove an image: its entry first, then its data."""
        super().__delitem__(key)

    # --- shape ------------------------------------------------------------------------------------

    def resize(self, shape: Sequence[int]) -> None:
        """Change the shape of the image: all levels and the label images follow, in one recorded change.

        The same as ``position.data.resize(shape)``. Levels follow by their factors. Label images follow along
        the axes on which they are as long as the image, filled with 0; one of length 1 along an axis holds
        for all of that axis and stays so. Growing along the channel axis names the new channels by their
        numbers, shrinking drops names. What the levels do not have yet is marked, and made by
        :meth:`compute_pyramid`.

        Parameters
        ----------
        shape : sequence of int
            New shape of the first level, in pixels, one value per axis.

        Raises
        ------
        ArgumentError
            If there is no image, or it is no shape with these dimensions.
        InvalidMetadataError
            If levels or label images do not fit the image as it is, and so cannot follow it.

        Examples
        --------
        >>> position.resize((10, 2, 4, 64, 64))  # room for ten time points
        >>> position["0"].shape
        (10, 2, 4, 64, 64)
        """
        self.data.resize(shape)

    def append(self, data: npt.ArrayLike, axis: str | int = "t") -> tuple[int, ...]:
        """Add pixels at the end of an axis: all levels and the label images grow with the image.

        Parameters
        ----------
        data : array-like
            Of the shape of the first level on all other axes, with values that its data type holds exactly.
        axis : str or int
            Name of the axis, in either case, or its index.

        Returns
        -------
        tuple of int
            The new shape of the first level.

        Raises
        ------
        ArgumentError
            If there is no such axis, shapes or values do not fit, or as for :meth:`resize`.

        Examples
        --------
        >>> position.compute_pyramid(levels=2)
        >>> frame = np.ones((1, 2, 4, 64, 64), "uint16")
        >>> position.append(frame)  # a time point
        (2, 2, 4, 64, 64)
        >>> position.compute_pyramid(region=np.s_[-1:])  # its levels
        >>> position["1"].shape
        (2, 2, 2, 32, 32)
        """
        index = self.get_axis_index(axis) if isinstance(axis, str) else axis
        return self.data.append(data, index)

    # --- levels -----------------------------------------------------------------------------------

    def initialize_pyramid(
        self,
        levels: int | str,
        dims: Sequence[str] | None = None,
        factors: Sequence[Step] | None = None,
        *,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
    ) -> None:
        """Create the levels of a pyramid, without pixels.

        Each level has the shape of the one above divided by the factors and rounded up. The levels of
        the position's label images are created with them. The document carries a mark until
        :meth:`compute_pyramid` has filled them.

        Parameters
        ----------
        levels : int or "auto"
            Number of levels, level 0 included (1 changes nothing); "auto" adds levels until Y and X are
            at most 256.
        dims : sequence of str, optional
            Names of the axes that shrink, by 2 per level; Z, Y and X by default.
        factors : sequence of dict or tuple, optional
            One per step from a level to the next: the factor of each axis, by name or in order.
        chunks, shards_ratio, shards, compressor, checksum
            Layout of the levels, as for :meth:`create_image`; by default that of level 0, with chunks of
            the same shape.

        Raises
        ------
        ArgumentError
            If an argument is wrong, there is no level 0, or levels exist in another number.

        Examples
        --------
        >>> position.initialize_pyramid(levels=3)
        >>> position["1"].shape, position["2"].shape, position["1"][0, :, 0, 0, 0]
        ((1, 2, 2, 32, 32), (1, 2, 1, 16, 16), array([0, 0], dtype=uint16))
        >>> position.compute_pyramid()
        >>> position["1"][0, :, 0, 0, 0]
        array([100, 200], dtype=uint16)
        """
        from platestore.images.pyramids import Request, initialise

        options = LayoutOptions(chunks, shards_ratio, shards, compressor, checksum)
        method = self._editor.pyramid_method
        initialise(self._editor, Request(levels, method, dims, factors, options=options))

    def compute_pyramid(
        self,
        levels: int | str | None = None,
        method: str = "mean",
        dims: Sequence[str] | None = None,
        *,
        factors: Sequence[Step] | None = None,
        region: Any = None,
        max_memory: int | str | None = None,
        workers: int | None = None,
        progress: bool | Progress | None = None,
        chunks: Sequence[int] | None = None,
        shards_ratio: Sequence[int] | None = None,
        shards: Shards | None = None,
        compressor: CompressorLike | None = None,
        checksum: bool = False,
    ) -> None:
        """Compute the levels of the pyramid from level 0, and those of the label images with them.

        Each level is made from the one above as it is stored (a cascade), all of them in one pass over
        level 0. Levels that exist are replaced at once when the new ones are complete; levels that were
        initialised are filled in place. After an interruption, running it again finishes the job. Label
        images that have other levels than the image keep them, with a warning.

        Parameters
        ----------
        levels : int or "auto", optional
            Number of levels, level 0 included; "auto" adds levels until Y and X are at most 256. By
            default the levels that exist.
        method : str
            ``"mean"`` (integers are rounded half to even), ``"median"`` (of an even window the lower
            middle value), ``"mode"`` (ties take the smallest value), ``"min"``, ``"max"``, ``"stride"``
            or ``"gaussian"`` (weights of a normal distribution that reaches beyond the window). Label
            images are made with ``"mode"``, whatever is asked for here.
        dims : sequence of str, optional
            Names of the axes that shrink, by 2 per level; Z, Y and X by default.
        factors : sequence of dict or tuple, optional
            One per step from a level to the next: the factor of each axis, by name or in order.
        region : index, optional
            Part of level 0 that changed, as integers and slices: only the pixels that depend on it are
            made anew, in place. Of levels that were initialised only, regions can be computed one by one as
            they are acquired.
        max_memory : int or str, optional
            Bytes by which the process may grow (``"2GB"``), 1 GiB by default.
        workers : int, optional
            Number of threads; that of ``platestore.config`` by default.
        progress : bool or callable, optional
            True shows a bar; a function is called with the bytes done and the total.
        chunks, shards_ratio, shards, compressor, checksum
            Layout of the levels, as for :meth:`create_image`; by default the levels keep theirs, and new
            ones get that of level 0, with chunks of the same shape.

        Raises
        ------
        ArgumentError
            If an argument is wrong, there is no level 0, no levels exist and none are asked for, or they
            exist in another number.
        InvalidMetadataError
            If the levels that exist are no pyramid.
        BudgetError
            If ``max_memory`` is too small; it names what is needed.
        DamagedChunkError, MissingChunkError
            If a chunk of level 0 cannot be read; the former levels stay.

        Examples
        --------
        >>> position.compute_pyramid(levels=3, method="mean", dims=("y", "x"))
        >>> [image.shape for _, image in position.images()]
        [(1, 2, 4, 64, 64), (1, 2, 4, 32, 32), (1, 2, 4, 16, 16)]
        >>> position["0"][0, 0, 0] = 0  # one plane changes
        >>> position.compute_pyramid(region=np.s_[0, 0, 0])
        >>> position["2"][0, 0, :, 0, 0]
        array([  0, 100, 100, 100], dtype=uint16)
        """
        # The first call loads what it needs, which is growth too.
        is_first, before = "platestore.images.pyramids" not in sys.modules, resident_bytes()
        from platestore.images.pyramids import Request, compute, warn_of
        from platestore.progress import shown as shown_progress

        loaded = max(2**20, resident_bytes() - before) if is_first else 0
        options = LayoutOptions(chunks, shards_ratio, shards, compressor, checksum)
        request = Request(levels, method, dims, factors, region, options)
        with shown_progress(progress, "pyramid") as tell:
            left = compute(self._editor, request, Resources(max_memory, workers, tell, loaded))
        warn_of(left, 3)

    def delete_pyramid(self) -> None:
        """Delete all levels but level 0, here and in the label images.

        Raises
        ------
        ArgumentError
            If there is no level 0.

        Examples
        --------
        >>> position.compute_pyramid(levels=3)
        >>> position.delete_pyramid()
        >>> position.keys()
        ['0']
        """
        from platestore.images.pyramids import delete

        delete(self._editor)

    # --- channels ---------------------------------------------------------------------------------

    def append_channel(self, chan_name: str, resize_arrays: bool = True) -> None:
        """Append a channel to the end of the channel list.

        Parameters
        ----------
        chan_name : str
            Name of the new channel.
        resize_arrays : bool
            Whether to grow all image arrays by one channel (of zeros).

        Raises
        ------
        ArgumentError
            If the name is taken, or there is no channel axis to grow.

        Examples
        --------
        >>> position.append_channel("Cy5")
        >>> position.channel_names, position["0"].shape
        (['DAPI', 'GFP', 'Cy5'], (1, 3, 4, 64, 64))
        """
        append_channel(self._editor, check_channel_name(chan_name), resize_arrays)

    def rename_channel(self, old: str, new: str) -> None:
        """Rename a channel.

        Raises
        ------
        ArgumentError
            If there is no channel ``old``, or one named ``new`` already.

        Examples
        --------
        >>> position.rename_channel("GFP", "mCherry")
        >>> position.channel_names
        ['DAPI', 'mCherry']
        """
        rename_channel(self._editor, old, new)

    def update_channel(self, chan_name: str, target: str | int, data: npt.ArrayLike) -> None:
        """Write the pixels of one channel.

        Parameters
        ----------
        chan_name : str
            Name of the channel.
        target : str or int
            Name of the image, or index of a level.
        data : array-like
            Of the image's shape without the channel axis, with values that its data type holds exactly:
            ``data.astype(image.dtype)`` casts others on purpose.

        Raises
        ------
        ArgumentError
            If the channel is unknown, the image has no channel axis, the shapes differ, or the data type
            cannot hold the values; nothing is written then.

        Examples
        --------
        >>> position.update_channel("GFP", "0", np.full((1, 4, 64, 64), 7, "uint16"))
        >>> position["0"][0, :, 0, 0, 0]
        array([100,   7], dtype=uint16)
        """
        from platestore.images.channels import update_channel

        update_channel(self._editor, chan_name, target, data)

    def set_contrast_limits(
        self,
        channel_name: str,
        window: WindowDict | None = None,
        *,
        percentiles: Sequence[float] | None = None,
    ) -> None:
        """Set the contrast window of a channel, as it is given or from its pixels.

        Parameters
        ----------
        channel_name : str
            Name of the channel.
        window : WindowDict
            ``start`` and ``end`` (shown first), ``min`` and ``max`` (of the slider), in grey values.
        percentiles : (float, float), optional
            Instead of a window: ``start`` and ``end`` are these percentiles of the pixels, ``min`` and
            ``max`` their extremes. The coarsest computed level with planes of at least 256 x 256 pixels is
            read, else the finest, chunk by chunk.

        Raises
        ------
        ArgumentError
            If the channel is unknown, the window incomplete, or neither or both are given.

        Examples
        --------
        >>> position.set_contrast_limits("DAPI", {"start": 100, "end": 900, "min": 0, "max": 4095})
        >>> position.set_contrast_limits("GFP", percentiles=(0.1, 99.9))
        >>> position.metadata.omero.channels[0].window
        {'start': 100.0, 'end': 900.0, 'min': 0.0, 'max': 4095.0}
        """
        if (window is None) == (percentiles is None):
            raise ArgumentError("a window or percentiles say what the contrast is", hint="pass one of them")
        if percentiles is not None:
            from platestore.images.channels import window_of

            channel = edits.index_of(self.channel_names, channel_name)
            window = window_of(self._editor, channel, percentiles)
        set_window(self._editor, channel_name, window)

    # --- transformations --------------------------------------------------------------------------

    @property
    def scale(self) -> list[float]:
        """Effective scale of the finest level, one value per axis, in physical units per pixel."""
        datasets = self._editor.meta.multiscales[0].datasets
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

        Examples
        --------
        >>> position.set_scale("*", "z", 2.0)  # of the position
        >>> position.set_scale("0", "z", 1.5)  # of the image
        >>> position.get_effective_scale("0")
        [1.0, 1.0, 3.0, 1.0, 1.0]
        """
        return edits.effective_scale(self._editor.meta, self._editor.image_key(image))

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

        Examples
        --------
        >>> shift = ps.TransformationMeta(type="translation", translation=[0, 0, 0, 120.5, 80.0])
        >>> position.set_transform("0", [shift])
        >>> position.get_effective_translation("0")
        [0.0, 0.0, 0.0, 120.5, 80.0]
        """
        return edits.effective_translation(self._editor.meta, self._editor.image_key(image))

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

        Examples
        --------
        >>> scale = ps.TransformationMeta(type="scale", scale=[1, 1, 2.0, 0.65, 0.65])
        >>> shift = ps.TransformationMeta(type="translation", translation=[0, 0, 0, 120.5, 80.0])
        >>> position.set_transform("0", [scale, shift])
        >>> position.get_effective_scale("0")
        [1.0, 1.0, 2.0, 0.65, 0.65]
        """
        name = self._editor.image_key(image)
        self._editor.commit(lambda d: edits.set_transform(d.meta, name, transform))

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

        Examples
        --------
        >>> position.set_scale("0", "y", 0.65)
        >>> position.set_scale("0", "x", 0.65)
        >>> position.scale
        [1.0, 1.0, 1.0, 0.65, 0.65]
        """
        axis = self.get_axis_index(axis_name)
        value = positive_scale(new_scale)
        name = self._editor.image_key(image)
        self._editor.commit(lambda d: edits.set_scale(d.meta, d.own, name, axis, value))

    # --- labelled arrays --------------------------------------------------------------------------

    def to_xarray(self, image: str | int = 0, array_wrapper: Any = None) -> xarray.DataArray:
        """Give an image as a labelled array, without reading its pixels.

        Parameters
        ----------
        image : str or int
            Name of the array, or index of a level.
        array_wrapper : object with ``wrap``, or dict, optional
            What the pixels become (:mod:`platestore.xarray`); a dask array by default.

        Returns
        -------
        xarray.DataArray
            Its dimensions are the axes, in lower case. Coordinates are the channel names, and for the other
            axes places in physical units, with ``attrs["units"]``; the attributes of the array itself are
            those that :meth:`write_xarray` was given.

        Raises
        ------
        NodeKeyError
            If there is no such image.
        ImportError
            If xarray is not installed (``pip install 'platestore[xarray]'``).

        Examples
        --------
        >>> array = position.to_xarray("0")
        >>> array.dims, array.coords["c"].values.tolist()
        (('t', 'c', 'z', 'y', 'x'), ['DAPI', 'GFP'])
        >>> int(array.sel(c="GFP").max())
        200
        """
        from platestore.xarray.positions import to_xarray

        return to_xarray(self._editor, image, array_wrapper)

    def write_xarray(self, data_array: xarray.DataArray, image: str | int = "0") -> None:
        """Write a labelled array, of all or of some channels and time points.

        The first call creates the image, with all channels; further calls write into it, and grow it along
        time. Scales, translations, units and attributes are taken over. dask arrays are written by whole
        chunks or shards.

        Parameters
        ----------
        data_array : xarray.DataArray
            Its dimensions are the axes, in their order. Coordinates of ``c`` are channel names; those of
            ``t`` say which time points.
        image : str or int
            Name of the array, or index of a level.

        Raises
        ------
        ArgumentError
            If dimensions or coordinates do not fit; nothing was written then.
        ImportError
            If xarray is not installed (``pip install 'platestore[xarray]'``).

        Examples
        --------
        >>> gfp = position.to_xarray("0").sel(c=["GFP"])
        >>> position.write_xarray(gfp + 1, "0")
        >>> position["0"][0, :, 0, 0, 0]
        array([100, 201], dtype=uint16)
        """
        from platestore.xarray.positions import write_xarray

        write_xarray(self._editor, data_array, image)
