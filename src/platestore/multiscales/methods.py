"""How levels are made: ngff-zarr's names, and what each of them is here."""

from __future__ import annotations

from enum import Enum

from platestore.errors import ArgumentError
from platestore.spec.reductions import reduction


class Methods(Enum):
    """Ways to make one pixel of a level of several pixels of the level above.

    The names and values are ngff-zarr's. All of them are computed by platestore: the name of a library says
    what result is asked for, and not who computes it. :attr:`engine` is platestore's own name.
    """

    #: Gaussian anti-aliasing; the default. For intensities.
    ITKWASM_GAUSSIAN = "itkwasm_gaussian"
    #: The exact mean of each window. For intensities.
    ITKWASM_BIN_SHRINK = "itkwasm_bin_shrink"
    #: The most frequent value of each window, of several the smallest. For labels.
    ITKWASM_LABEL_IMAGE = "itkwasm_label_image"
    #: As :attr:`ITKWASM_GAUSSIAN`.
    ITK_GAUSSIAN = "itk_gaussian"
    #: As :attr:`ITKWASM_BIN_SHRINK`.
    ITK_BIN_SHRINK = "itk_bin_shrink"
    #: As :attr:`ITKWASM_GAUSSIAN`.
    DASK_IMAGE_GAUSSIAN = "dask_image_gaussian"
    #: As :attr:`ITKWASM_LABEL_IMAGE`.
    DASK_IMAGE_MODE = "dask_image_mode"
    #: The first pixel of each window; its place does not move. For labels, and for a quick look.
    DASK_IMAGE_NEAREST = "dask_image_nearest"
    #: As :attr:`ITKWASM_BIN_SHRINK`.
    DASK_BIN_SHRINK = "dask_bin_shrink"
    #: The middle value of each window, the lower one of an even number. Not in ngff-zarr.
    MEDIAN = "median"
    #: The smallest value of each window. Not in ngff-zarr.
    MIN = "min"
    #: The largest value of each window. Not in ngff-zarr.
    MAX = "max"

    @property
    def engine(self) -> str:
        """Platestore's name: "gaussian", "mean", "mode", "stride", "median", "min" or "max"."""
        return _ENGINE.get(self.value, self.value)

    @property
    def description(self) -> str:
        """What it does, in words for the image's metadata."""
        return reduction(self.engine).description


_ENGINE = {
    "itkwasm_gaussian": "gaussian",
    "itk_gaussian": "gaussian",
    "dask_image_gaussian": "gaussian",
    "itkwasm_bin_shrink": "mean",
    "itk_bin_shrink": "mean",
    "dask_bin_shrink": "mean",
    "itkwasm_label_image": "mode",
    "dask_image_mode": "mode",
    "dask_image_nearest": "stride",
}
_OWN_NAMES = {
    "gaussian": Methods.ITKWASM_GAUSSIAN,
    "mean": Methods.DASK_BIN_SHRINK,
    "mode": Methods.DASK_IMAGE_MODE,
    "stride": Methods.DASK_IMAGE_NEAREST,
    "nearest": Methods.DASK_IMAGE_NEAREST,
}


def check_method(method: object) -> Methods:
    """Understand what was passed as ``method=``.

    Parameters
    ----------
    method : Methods, str or None
        A member, its value or its name in either case, or platestore's own name (``"mean"``); members of
        other enumerations are taken by their value. None is the default, ``ITKWASM_GAUSSIAN``.

    Raises
    ------
    ArgumentError
        If there is no such method.
    """
    if method is None:
        return Methods.ITKWASM_GAUSSIAN
    if isinstance(method, Methods):
        return method
    name = method.value if isinstance(method, Enum) else method
    if isinstance(name, str):
        word = name.strip().lower()
        if word in _OWN_NAMES:
            return _OWN_NAMES[word]
        for member in Methods:
            if word in (member.value, member.name.lower()):
                return member
    names = ", ".join(repr(member.value) for member in Methods)
    raise ArgumentError(f"there is no method {method!r}", hint=f"one of {names}")
