"""A plate with everything that is validated, and editing its documents by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import platestore as ps

#: The document that holds the attributes of a group, and that of an array.
GROUP = {"0.4": ".zattrs", "0.5": "zarr.json"}
ARRAY = {"0.4": ".zarray", "0.5": "zarr.json"}
#: The advice that every document of the plates below gets.
USUAL = frozenset({"key-recommended"})


def make_plate(path: Path, version: str) -> Path:
    """Three wells with one field each, of two channels and two levels; the first has a label image."""
    with ps.open_ome_zarr(
        path, layout="hcs", mode="w-", channel_names=["DAPI", "GFP"], version=version, name="trial"
    ) as plate:
        specs = [("A", "1", "0"), ("A", "2", "0"), ("B", "1", "0")]
        for position in plate.create_positions(specs):
            position.create_image("0", np.ones((1, 2, 2, 16, 24), "uint16"), chunks=(1, 1, 1, 16, 16))
            position.compute_pyramid(2)
        plate["A/1/0"].create_label("nuclei", np.ones((1, 1, 2, 16, 24), "uint16"))
    return path


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON document, as a careless program would."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def ome(content: dict[str, Any]) -> dict[str, Any]:
    """The mapping with the OME keys."""
    inner: dict[str, Any] = content["attributes"]["ome"] if "attributes" in content else content
    return inner


class Trial:
    """A store to be damaged.

    Parameters
    ----------
    path : Path
        Where it is.
    version : str
        Its OME-NGFF version.
    """

    def __init__(self, path: Path, version: str) -> None:
        self.path = path
        self.version = version

    def group(self, path: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the OME keys of a group."""
        edit(self.path / path / GROUP[self.version], lambda content: change(ome(content)))

    def array(self, path: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the document of an array."""
        edit(self.path / path / ARRAY[self.version], change)

    def found(self, path: str = "", **kwargs: Any) -> list[tuple[str, str, str, str]]:
        """What validation finds: level, code, file below the store, location; without the usual advice."""
        report = ps.validate(self.path / path if path else self.path, **kwargs)
        return [
            (f.level, f.code, str(Path(f.file).relative_to(self.path)), f.location)
            for f in report.findings
            if f.code not in USUAL
        ]

    def where(self, location: str) -> str:
        """A location as this version writes it."""
        return f"ome.{location}" if self.version == "0.5" else location

    def file(self, path: str) -> str:
        """The document of a group."""
        return f"{path}/{GROUP[self.version]}".lstrip("/")

    def array_file(self, path: str) -> str:
        """The document of an array."""
        return f"{path}/{ARRAY[self.version]}".lstrip("/")
