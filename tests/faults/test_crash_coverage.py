"""No method or function that writes is forgotten by the tests of crashes and errors."""

from __future__ import annotations

import pytest
import test_faults_copy
import test_pyramid_crashes
from fault_cases import CREATIONS, IN_PLACE, REPLACEMENTS
from fault_imports import SCENES
from fault_labels import LABELS

import platestore as ps
from platestore import multiscales, stacks
from platestore import xarray as doors

#: What writes, and how the names of its cases begin. The program dies at each operation of each of these.
WRITERS = {
    "open_ome_zarr": "create plate",
    "copy": "copy: ",
    "copy_to": "copy: ",
    "from_positions": "copy: ",
    "check": "repair: ",
    "recover": "recovery: ",
    "create_well": "create_well",
    "create_position": "create_position",
    "create_positions": "create_positions",
    "rename_well": "rename_well",
    "dump_meta": "Plate.dump_meta",
    "create_image": "create_image",
    "create_zeros": "create_zeros",
    "make_tiles": "make_tiles",
    "append_channel": "append_channel",
    "rename_channel": "rename_channel",
    "set_axes_case": "set_axes_case",
    "update_channel": "update_channel",
    "set_contrast_limits": "set_contrast_limits",
    "set_scale": "set_scale",
    "set_transform": "set_transform",
    "create_label": "create a label",
    "delete_label": "delete_label",
    "create_labels_group": "create_labels_group",
    "compute_pyramid": "compute creates",
    "compute_pyramids": "compute creates",
    "initialize_pyramid": "initialise",
    "delete_pyramid": "delete",
    "resize": "array resize",
    "append": "array append",
    "update_attributes": "array update_attributes",
    "__delitem__": "del ",
    "__setitem__": "position[...]",
    "import_stack": "import_stack",
    "plan": "import_stack",
    "run_job": "run_job",
    "finish": "finish",
    "add_downsample_level": "add_downsample_level",
    "to_ngff_zarr": "to_ngff_zarr",
    "to_ome_zarr": "to_ngff_zarr",
    "write_xarray": "write_xarray",
    "create_multiscale_group": "write_multiscale_group",
    "write_multiscale_group": "write_multiscale_group",
}
#: Pixels of arrays that are there: file after file, each replaced as a whole. Kills and errors within
#: TensorStore try these.
PIXELS = {
    "set_basic_selection", "set_block_selection", "set_coordinate_selection", "set_mask_selection",
    "set_orthogonal_selection", "write_dask", "write_tile", "add_full_res_data",
}  # fmt: skip
READERS = {
    "keys", "items", "values",
    "array_keys", "close", "group_keys", "get_axis_index", "get_channel_index", "is_leaf", "is_root",
    "print_tree", "refresh", "positions", "rows", "wells", "images", "labels", "get_label", "plan_layout",
    "get_effective_scale", "get_effective_translation", "to_xarray", "dask_array", "numpy", "tensorstore",
    "nbytes_stored", "info_complete", "with_config", "write_units", "get_basic_selection",
    "get_block_selection", "get_coordinate_selection", "get_mask_selection", "get_orthogonal_selection",
    "get_tile", "get_tile_slice", "validate", "open_multiscale_group", "estimate_memory",
    "memory_per_downsample_process", "memory_per_slab_process", "mean", "median", "mode", "to_ngff_image",
    "to_multiscales", "from_ngff_zarr", "from_ome_zarr", "read_multiscale_array", "read_multiscale_group",
    "read_multiscale_tree", "model_multiscale_group", "coords_from_transforms", "transforms_from_coords",
    "normalise_unit",
}  # fmt: skip
#: Of zarr's arrays, and of no use here: arrays are created by positions.
OTHERS = {"create", "from_dict", "open"}
_CLASSES = (
    ps.Plate, ps.Row, ps.Well, ps.Position, ps.TiledPosition, ps.LabelImage, ps.LabelsGroup,
    ps.Bioformats2RawSeries, ps.ImageArray, ps.TiledImageArray, stacks.MultiScaleGroup,
)  # fmt: skip
_INDEXING = ("__setitem__", "__delitem__")


def _methods(cls: type) -> set[str]:
    named = {name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name, None))}
    return named | {name for name in _INDEXING if hasattr(cls, name)}


def _functions(module: object) -> set[str]:
    found = {name: getattr(module, name) for name in module.__all__ if not name.startswith("_")}
    return {name for name, item in found.items() if callable(item) and not isinstance(item, type)}


@pytest.mark.parametrize("cls", _CLASSES)
def test_every_method_is_known_to_write_or_not(cls):
    assert _methods(cls) <= {*WRITERS, *PIXELS, *READERS, *OTHERS}


@pytest.mark.parametrize("module", [ps, stacks, multiscales, doors])
def test_every_function_is_known_to_write_or_not(module):
    assert {name for name in _functions(module) if name.islower()} - {"config"} <= {*WRITERS, *READERS}


def test_every_writer_has_a_case():
    cases = [*CREATIONS, *REPLACEMENTS, *IN_PLACE, *test_pyramid_crashes.CASES, *LABELS]
    copies = [*test_faults_copy.NEW, *test_faults_copy.MORE, *test_faults_copy.INSIDE]
    names = [*(case.name for case in cases), *SCENES, *(f"copy: {scene.name}" for scene in copies)]
    # What repairs and recovers has tests of its own: test_repair_crashes, test_acquisition_crashes.
    missing = {name: start for name, start in WRITERS.items() if not any(n.startswith(start) for n in names)}
    assert set(missing) <= {"check", "recover"}
