"""Channels of a position: their names, windows and pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from platestore.arrays.metadata import summarise
from platestore.errors import ArgumentError, NodeNotFoundError
from platestore.nodes.draft import Draft
from platestore.nodes.node import NGFFNode
from platestore.spec import edits
from platestore.spec.axes import channel_index
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.omero import WindowDict, check_channel_name, check_window, complete, is_complete

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.nodes.position import Position


class Channels(NGFFNode[ImagesMeta]):
    """The methods of a position that concern its channels."""

    @property
    def _position(self) -> Position:
        return cast("Position", self)

    @property
    def channel_names(self) -> list[str]:
        """Names of the channels; "0", "1", ... for images that name none."""
        meta = self._state()
        if meta.omero is not None:
            return edits.channel_names(meta, 0)
        return edits.channel_names(meta, self._count_channels(meta))

    def _count_channels(self, meta: ImagesMeta) -> int:
        axis = channel_index(meta.multiscales[0].axes)
        if axis is None or not meta.multiscales[0].datasets:
            return 1
        shape = summarise(self._position._array_document(meta.multiscales[0].datasets[0].path)).shape
        return shape[axis] if axis < len(shape) else 1

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
        """
        from platestore.nodes.creation import append_channel

        append_channel(self._position, check_channel_name(chan_name), resize_arrays)

    def rename_channel(self, old: str, new: str) -> None:
        """Rename a channel.

        Raises
        ------
        ArgumentError
            If there is no channel ``old``, or one named ``new`` already.
        """
        check_channel_name(new)
        names, dtype = self.channel_names, self._dtype_of_incomplete()
        self._commit(
            lambda d: edits.rename_channel(d.meta, self._fresh_names(d.meta, names), old, new, dtype)
        )

    def dump_meta(self) -> None:
        """Write the metadata model, with the edits made to it; channels get the colour or window they lack.

        Raises
        ------
        InvalidMetadataError
            If the edits break a rule of the specification; nothing is written then.
        """
        dtype = None if self._state().omero is None else self._dtype_of_incomplete()

        def change(draft: Draft[ImagesMeta]) -> None:
            if draft.meta.omero is not None and dtype is not None:
                complete(draft.meta.omero, dtype)

        self._commit(change)

    def _dtype_of_incomplete(self) -> str | None:
        """The data type to complete channels with; None if none lacks anything, or there is no image yet."""
        return None if is_complete(self._state().omero) else self._dtype_of_image()

    def _dtype_of_image(self) -> str | None:
        datasets = self._state().multiscales[0].datasets
        if not datasets:
            return None
        try:
            return summarise(self._position._array_document(datasets[0].path)).dtype
        except NodeNotFoundError:
            return None

    def _fresh_names(self, meta: ImagesMeta, fallback: Sequence[str]) -> Sequence[str]:
        return edits.channel_names(meta, len(fallback)) if meta.omero is not None else fallback

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
        """
        from platestore.arrays.casting import exact

        image = self._position[target]
        axis = channel_index(self.axes)
        if axis is None:
            raise ArgumentError("the image has no channel axis", path=self._location.where)
        index = self.get_channel_index(chan_name)
        block = exact(data, image.dtype, what="written to")
        expected = image.shape[:axis] + image.shape[axis + 1 :]
        if block.shape != expected:
            raise ArgumentError(f"the data has shape {block.shape}; a channel of {target!r} has {expected}")
        if index >= image.shape[axis]:
            raise ArgumentError(
                f"{target!r} has {image.shape[axis]} channels; {chan_name!r} is number {index}"
            )
        image[tuple(index if i == axis else slice(None) for i in range(image.ndim))] = block

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
        >>> position.set_contrast_limits("DAPI", percentiles=(0.1, 99.9))  # doctest: +SKIP
        """
        names, dtype = self.channel_names, self._dtype_of_incomplete()
        if (window is None) == (percentiles is None):
            raise ArgumentError("a window or percentiles say what the contrast is", hint="pass one of them")
        if percentiles is not None:
            from platestore.nodes.contrast import window_of

            window = window_of(self._position, edits.index_of(names, channel_name), percentiles)
        checked = check_window(window)
        self._commit(
            lambda d: edits.set_window(d.meta, self._fresh_names(d.meta, names), channel_name, checked, dtype)
        )
