"""The ways to make one pixel of a level of several pixels of the level above: what each of them is.

The computations are in ``pyramid/kernels.py``, under the same names. Whoever asks how a method behaves asks
its attributes here, and compares no names.
"""

from __future__ import annotations

from dataclasses import dataclass

from platestore.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class ReductionMethod:
    """One way to reduce.

    Attributes
    ----------
    name : str
        What users call it.
    description : str
        What it does, in words for the metadata of an image.
    overlaps : bool
        Whether it takes pixels around its window, too; only such a method is not exact to the last bit.
    is_pooled : bool
        Whether a pixel stands for the middle of its window, and not for its first pixel.
    ignores_copies : bool
        Whether pixels that are there twice change nothing.
    """

    name: str
    description: str
    overlaps: bool = False
    is_pooled: bool = True
    ignores_copies: bool = False


_ALL = (
    ReductionMethod("mean", "The mean of each window, rounded half to even."),
    ReductionMethod("median", "The middle value of each window, the lower one of an even number."),
    ReductionMethod("mode", "The most frequent value of each window, of several the smallest."),
    ReductionMethod("min", "The smallest value of each window.", ignores_copies=True),
    ReductionMethod("max", "The largest value of each window.", ignores_copies=True),
    ReductionMethod("stride", "The first pixel of each window.", is_pooled=False),
    ReductionMethod("gaussian", "Gaussian weights around the middle of each window.", overlaps=True),
)
#: All of them by their names, in the order in which they are offered.
METHODS = {method.name: method for method in _ALL}
#: What images are made with unless something else is asked for, and label images, whose values have no mean.
FOR_IMAGES, FOR_LABELS = "mean", "mode"


def reduction(method: object) -> ReductionMethod:
    """What a method is; a function, which gets whole windows, is a pooled one without a name.

    Raises
    ------
    ArgumentError
        If there is no method of this name.
    """
    if callable(method):
        return _FUNCTION
    found = METHODS.get(method) if isinstance(method, str) else None
    if found is None:
        raise ArgumentError(
            f"no such method of reduction: {method!r}", hint=f"use one of {', '.join(METHODS)}"
        )
    return found


_FUNCTION = ReductionMethod("", "A function of each window.")
