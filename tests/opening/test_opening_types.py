"""What type checkers and editors see of the public names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import platestore
import platestore.multiscales
import platestore.stacks
import platestore.xarray

SCRIPT = """
from platestore import Plate, TransformationMeta, copy, open_ome_zarr, validate
from platestore.multiscales import to_multiscales
from platestore.stacks import import_stack
from platestore.xarray import read_multiscale_array

with open_ome_zarr("a.zarr", layout="hcs", mode="w-", channel_names=["a"], lock=False) as plate:
    array = plate.create_position("A", "1", "0").create_zeros("0", (1, 1, 1, 4, 4), "uint16")
    print(array.frames + 1, plate.version, [position.data.shape for _, position in plate.positions()])
open_ome_zarr("a.zarr", layout="fov").create_zeros("0", (1, 1, 1, 4, 4), "uint16")
open_ome_zarr("a.zarr", layout="bf2raw").positions()
with open_ome_zarr("a.zarr") as node:
    print(node["0"], node.channel_names, node.keys())
    if isinstance(node, Plate):
        print([well.axes for _, well in node.wells()])
"""


@pytest.mark.parametrize(
    "module",
    [platestore, platestore.multiscales, platestore.stacks, platestore.xarray],
    ids=lambda m: m.__name__,
)
def test_the_public_names_are_written_out(module: object) -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    values = [n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "__all__"]
    assert sorted(ast.literal_eval(values[0])) == sorted({*module._HOME} | {"__version__"} & {*vars(module)})
    assert all(getattr(module, name) is not None for name in module.__all__)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_script_passes_strict_checks(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    (tmp_path / "good.py").write_text(SCRIPT)
    (tmp_path / "bad.py").write_text(
        'from platestore import open_ome_zarr\nopen_ome_zarr("a.zarr", durable="full")\n'
        'open_ome_zarr("a.zarr").no_such_member\n'
    )
    options = ["--strict", "--follow-imports=silent", "--ignore-missing-imports", "--no-error-summary"]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "good.py", "bad.py"],
        cwd=tmp_path,
        env={**_environment(), "MYPYPATH": str(Path(platestore.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    lines = [line for line in run.stdout.splitlines() if ": error:" in line]
    assert [line for line in lines if not line.startswith("bad.py")] == []
    assert {line.split(":")[1] for line in lines} == {"2", "3"}, run.stdout + run.stderr


def _environment() -> dict[str, str]:
    import os

    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
