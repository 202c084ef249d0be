"""platestore: OME-Zarr plates and positions for high-content screening.

The public names are imported when they are first used, so ``import platestore`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from platestore._version import __version__

_PUBLIC = {
    "platestore.nodes.opening": ("open_ome_zarr",),
    "platestore.nodes.node": ("NGFFNode",),
    "platestore.nodes.plate": ("Plate", "PositionSpec"),
    "platestore.nodes.row": ("Row",),
    "platestore.nodes.well": ("Well",),
    "platestore.nodes.position": ("LabelImage", "LabelsGroup", "Position", "TiledPosition"),
    "platestore.nodes.series": ("Bioformats2RawSeries",),
    "platestore.acquisition.recovery": ("RecoverReport", "recover"),
    "platestore.arrays.image": ("ImageArray",),
    "platestore.arrays.tiled": ("TiledImageArray",),
    "platestore.checking.check": ("CheckReport", "check"),
    "platestore.arrays.planning": ("LayoutPlan",),
    "platestore.checking.report": ("ValidationReport",),
    "platestore.checking.validation": ("validate",),
    "platestore.copying.api": ("copy",),
    "platestore.copying.report": ("ArrayReport", "CopyReport"),
    "platestore.processing": ("PyramidReport", "compute_pyramids"),
    "platestore.settings": ("config",),
    "platestore.spec.axes": ("AxisMeta", "ChannelAxisMeta", "SpaceAxisMeta", "TimeAxisMeta"),
    "platestore.spec.base": ("TO_DICT_SETTINGS",),
    "platestore.spec.transforms": ("TransformationMeta",),
    "platestore.spec.findings": ("Finding",),
    "platestore.spec.multiscales": ("DatasetMeta", "ImagesMeta", "MultiScaleMeta"),
    "platestore.spec.labels": (
        "ImageLabelMeta",
        "LabelColorMeta",
        "LabelImageMeta",
        "LabelPropertyMeta",
        "LabelSourceMeta",
        "LabelsMeta",
    ),
    "platestore.spec.omero": ("ChannelMeta", "OMEROMeta", "RDefsMeta", "WindowDict"),
    "platestore.spec.plate": ("AcquisitionMeta", "PlateAxisMeta", "PlateMeta", "WellIndexMeta"),
    "platestore.spec.well": ("ImageMeta", "WellGroupMeta"),
    "platestore.errors": (
        "ArgumentError",
        "BudgetError",
        "DamagedChunkError",
        "DanglingError",
        "ForkError",
        "InvalidMetadataError",
        "InvalidNameError",
        "LevelExistsError",
        "LevelNotFoundError",
        "LockTimeoutError",
        "LockUnsupportedError",
        "MissingChunkError",
        "NoSpaceError",
        "NodeExistsError",
        "NodeKeyError",
        "NodeNotFoundError",
        "PlatestoreError",
        "ReadOnlyError",
        "RewriteWarning",
        "SourceChangedError",
        "StoreWarning",
        "UnreadableWarning",
        "UnsafeTargetError",
        "UnsupportedError",
        "UnsupportedVersionError",
        "VerifyError",
    ),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
#: Former names.
_ALIASES = {"Report": "ValidationReport"}
_HOME |= {former: _HOME[name] for former, name in _ALIASES.items()}

# Written out, for type checkers that read no code.
__all__ = [
    "TO_DICT_SETTINGS",
    "AcquisitionMeta",
    "ArgumentError",
    "ArrayReport",
    "AxisMeta",
    "Bioformats2RawSeries",
    "BudgetError",
    "ChannelAxisMeta",
    "ChannelMeta",
    "CheckReport",
    "CopyReport",
    "DamagedChunkError",
    "DanglingError",
    "DatasetMeta",
    "Finding",
    "ForkError",
    "ImageArray",
    "ImageLabelMeta",
    "ImageMeta",
    "ImagesMeta",
    "InvalidMetadataError",
    "InvalidNameError",
    "LabelColorMeta",
    "LabelImage",
    "LabelImageMeta",
    "LabelPropertyMeta",
    "LabelSourceMeta",
    "LabelsGroup",
    "LabelsMeta",
    "LayoutPlan",
    "LevelExistsError",
    "LevelNotFoundError",
    "LockTimeoutError",
    "LockUnsupportedError",
    "MissingChunkError",
    "MultiScaleMeta",
    "NGFFNode",
    "NoSpaceError",
    "NodeExistsError",
    "NodeKeyError",
    "NodeNotFoundError",
    "OMEROMeta",
    "Plate",
    "PlateAxisMeta",
    "PlateMeta",
    "PlatestoreError",
    "Position",
    "PositionSpec",
    "PyramidReport",
    "RDefsMeta",
    "ReadOnlyError",
    "RecoverReport",
    "Report",
    "RewriteWarning",
    "Row",
    "SourceChangedError",
    "SpaceAxisMeta",
    "StoreWarning",
    "TiledImageArray",
    "TiledPosition",
    "TimeAxisMeta",
    "TransformationMeta",
    "UnreadableWarning",
    "UnsafeTargetError",
    "UnsupportedError",
    "UnsupportedVersionError",
    "ValidationReport",
    "VerifyError",
    "Well",
    "WellGroupMeta",
    "WellIndexMeta",
    "WindowDict",
    "__version__",
    "check",
    "compute_pyramids",
    "config",
    "copy",
    "open_ome_zarr",
    "recover",
    "validate",
]


if TYPE_CHECKING:
    from platestore.acquisition.recovery import RecoverReport, recover
    from platestore.arrays.image import ImageArray
    from platestore.arrays.planning import LayoutPlan
    from platestore.arrays.tiled import TiledImageArray
    from platestore.checking.check import CheckReport, check
    from platestore.checking.report import ValidationReport
    from platestore.checking.report import ValidationReport as Report
    from platestore.checking.validation import validate
    from platestore.copying.api import copy
    from platestore.copying.report import ArrayReport, CopyReport
    from platestore.errors import (
        ArgumentError,
        BudgetError,
        DamagedChunkError,
        DanglingError,
        ForkError,
        InvalidMetadataError,
        InvalidNameError,
        LevelExistsError,
        LevelNotFoundError,
        LockTimeoutError,
        LockUnsupportedError,
        MissingChunkError,
        NodeExistsError,
        NodeKeyError,
        NodeNotFoundError,
        NoSpaceError,
        PlatestoreError,
        ReadOnlyError,
        RewriteWarning,
        SourceChangedError,
        StoreWarning,
        UnreadableWarning,
        UnsafeTargetError,
        UnsupportedError,
        UnsupportedVersionError,
        VerifyError,
    )
    from platestore.nodes.node import NGFFNode
    from platestore.nodes.opening import open_ome_zarr
    from platestore.nodes.plate import Plate, PositionSpec
    from platestore.nodes.position import LabelImage, LabelsGroup, Position, TiledPosition
    from platestore.nodes.row import Row
    from platestore.nodes.series import Bioformats2RawSeries
    from platestore.nodes.well import Well
    from platestore.processing import PyramidReport, compute_pyramids
    from platestore.settings import config
    from platestore.spec.axes import AxisMeta, ChannelAxisMeta, SpaceAxisMeta, TimeAxisMeta
    from platestore.spec.base import TO_DICT_SETTINGS
    from platestore.spec.findings import Finding
    from platestore.spec.labels import (
        ImageLabelMeta,
        LabelColorMeta,
        LabelImageMeta,
        LabelPropertyMeta,
        LabelsMeta,
        LabelSourceMeta,
    )
    from platestore.spec.multiscales import DatasetMeta, ImagesMeta, MultiScaleMeta
    from platestore.spec.omero import ChannelMeta, OMEROMeta, RDefsMeta, WindowDict
    from platestore.spec.plate import AcquisitionMeta, PlateAxisMeta, PlateMeta, WellIndexMeta
    from platestore.spec.transforms import TransformationMeta
    from platestore.spec.well import ImageMeta, WellGroupMeta


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'platestore' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), _ALIASES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
