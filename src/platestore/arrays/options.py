"""How a new array is to be laid out, as the creation calls take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy.typing as npt

    from platestore.arrays.codecs import CompressorLike
    from platestore.arrays.layout import ArrayLayout, Shards
    from platestore.spec.geometry import Step
    from platestore.storage.hierarchy import ZarrFormat


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """The arguments of the creation calls that have these names."""

    chunks: Sequence[int] | None = None
    shards_ratio: Sequence[int] | None = None
    shards: Shards | None = None
    compressor: CompressorLike | None = None
    checksum: bool = False

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return self != LayoutOptions()

    def layout(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        zarr_format: ZarrFormat,
        axis_names: Sequence[str],
    ) -> ArrayLayout:
        """The layout of an array of a shape and data type.

        Raises
        ------
        ArgumentError
            If an option cannot be fulfilled.
        """
        from platestore.arrays.codec_objects import plan_with

        return plan_with(
            self.compressor,
            shape,
            dtype,
            zarr_format=zarr_format,
            chunks=self.chunks,
            shards_ratio=self.shards_ratio,
            shards=self.shards,
            checksum=self.checksum,
            axis_names=axis_names,
        )


@dataclass(frozen=True, slots=True)
class PyramidOptions:
    """The arguments of ``create_image`` that begin with ``pyramid_``."""

    levels: int | str | None = None
    method: str | None = None
    factors: Sequence[Step] | None = None
