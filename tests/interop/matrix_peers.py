"""Other libraries in the interoperability matrix: how each reads and writes the cases.

Each is used as its own documentation does. Where a class lacks a method, the library has no such notion.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from interop.matrix_cases import (
    CHANNELS,
    FIELDS,
    LABEL,
    SCALE,
    SHAPE,
    ZARR_FORMAT,
    Found,
    Seen,
    documents,
    label_pixels,
    number_of,
    pixels,
)

AXES = "tczyx"
_UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
_HALVES = [SCALE, [1.0, 1.0, 2.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0, 2.0]]


def levels_of(data: np.ndarray, count: int) -> list[np.ndarray]:
    """An image and what is left of it when every second pixel along Y and X is taken away."""
    return [data[..., :: 2**level, :: 2**level] for level in range(count)]


def fields_of(path: Path) -> Iterator[str]:
    """The fields that the documents of a plate list."""
    for well in documents(path, [""])[""]["plate"]["wells"]:
        for image in documents(path, [well["path"]])[well["path"]]["well"]["images"]:
            yield f"{well['path']}/{image['path']}"


class Peer:
    """A library: what it is called, and what it must have to take part."""

    name: str
    module: str
    package: str
    #: Whether it shows one field of each well only.
    by_wells = False
    #: Versions of OME-NGFF that it writes.
    writes: tuple[str, ...] = ("0.4", "0.5")
    #: Whether its writer is given the names of channels.
    names_channels = True

    @classmethod
    def version(cls) -> str | None:
        """The installed release, or None."""
        try:
            importlib.import_module(cls.module)
            return importlib.metadata.version(cls.package)
        except ImportError:
            return None

    def read(self, kind: str, path: Path) -> Found:
        """What it finds in a store."""
        if kind == "plate":
            return Found(self.plate(path))
        return Found({"": self.image(path)}, self.labels(path) if kind == "labels" else {})

    @classmethod
    def can_read(cls, kind: str) -> bool:
        """Whether it has this notion."""
        return hasattr(cls, "image" if kind in ("image", "pyramid") else kind)

    @classmethod
    def can_write(cls, kind: str, version: str) -> bool:
        """Whether it writes such stores."""
        method = {"image": "write_image", "pyramid": "write_image"}.get(kind, f"write_{kind}")
        return hasattr(cls, method) and version in cls.writes

    @classmethod
    def can_change(cls, kind: str, version: str) -> bool:
        """Whether it writes the kind, and reads what ``matrix_cases.change`` makes of it."""
        if kind not in ("image", "plate") or not cls.can_write(kind, version):
            return False
        return not cls.by_wells if kind == "plate" else cls.can_read("labels")

    def write(self, kind: str, path: Path, version: str) -> None:
        """Write a store with the pixels of the case."""
        if kind == "plate":
            self.write_plate(path, version)
        elif kind == "labels":
            self.write_labels(path, version)
        else:
            self.write_image(path, version, 3 if kind == "pyramid" else 1)


class ZarrPython(Peer):
    """Arrays by the paths that the documents give."""

    name, module, package = "zarr-python", "zarr", "zarr"

    def array(self, path: Path) -> np.ndarray:
        """The pixels of one array."""
        return zarr.open_array(path, mode="r")[...]

    def image(self, path: Path) -> Seen:
        """Levels of an image."""
        image = documents(path, [""])[""]["multiscales"][0]
        return Seen([self.array(path / dataset["path"]) for dataset in image["datasets"]])

    def labels(self, path: Path) -> dict[str, Seen]:
        """Label images by name."""
        listed = documents(path, ["labels"])["labels"]["labels"]
        return {name: self.image(path / "labels" / name) for name in listed}

    def plate(self, path: Path) -> dict[str, Seen]:
        """Images of all fields."""
        return {name: self.image(path / name) for name in fields_of(path)}


class TensorStore(ZarrPython):
    """The same by TensorStore."""

    name, module, package = "TensorStore", "tensorstore", "tensorstore"

    def array(self, path: Path) -> np.ndarray:
        import tensorstore

        driver = "zarr3" if (path / "zarr.json").exists() else "zarr"
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}}
        return tensorstore.open(spec).result().read().result()


class Iohub(Peer):
    """Positions and plates."""

    name, module, package = "iohub", "iohub", "iohub"

    def _seen(self, position: Any) -> Seen:
        levels = [np.asarray(position[name][...]) for name in position.array_keys()]
        axes = "".join(axis.name for axis in position.axes)
        return Seen(levels, axes, list(position.scale), list(position.channel_names))

    def image(self, path: Path) -> Seen:
        from iohub.ngff import open_ome_zarr

        with open_ome_zarr(path, mode="r") as position:
            return self._seen(position)

    def labels(self, path: Path) -> dict[str, Seen]:
        from iohub.ngff import open_ome_zarr

        with open_ome_zarr(path, mode="r") as position:
            return {name: Seen([np.asarray(label["0"][...])]) for name, label in position.labels()}

    def plate(self, path: Path) -> dict[str, Seen]:
        from iohub.ngff import open_ome_zarr

        with open_ome_zarr(path, mode="r") as plate:
            return {name: self._seen(position) for name, position in plate.positions()}

    def _fill(self, position: Any, number: int, levels: int = 1) -> None:
        from iohub.ngff.models import TransformationMeta

        scale = [TransformationMeta(type="scale", scale=SCALE)]
        position.create_image("0", pixels(number), transform=scale)
        if levels > 1:
            position.compute_pyramid(levels=levels, dims={"y", "x"})

    def _open(self, path: Path, version: str, layout: str) -> Any:
        from iohub.ngff import open_ome_zarr

        return open_ome_zarr(path, layout=layout, mode="w-", channel_names=CHANNELS, version=version)

    def write_image(self, path: Path, version: str, levels: int) -> None:
        with self._open(path, version, "fov") as position:
            self._fill(position, 0, levels)

    def write_labels(self, path: Path, version: str) -> None:
        with self._open(path, version, "fov") as position:
            self._fill(position, 0)
            position.create_label(LABEL, label_pixels())

    def write_plate(self, path: Path, version: str) -> None:
        with self._open(path, version, "hcs") as plate:
            for name in FIELDS:
                self._fill(plate.create_position(*name.split("/")), number_of(name))


class Ngio(Peer):
    """Containers of images, labels and tables; plates."""

    name, module, package = "ngio", "ngio", "ngio"

    def _seen(self, container: Any) -> Seen:
        images = [container.get_image(path=path) for path in container.level_paths]
        size = images[0].pixel_size
        return Seen(
            [image.get_as_numpy() for image in images],
            "".join(images[0].axes),
            [size.z, size.y, size.x],
            list(container.channel_labels),
        )

    def image(self, path: Path) -> Seen:
        import ngio

        return self._seen(ngio.open_ome_zarr_container(path, mode="r", validate_arrays=True))

    def labels(self, path: Path) -> dict[str, Seen]:
        import ngio

        container = ngio.open_ome_zarr_container(path, mode="r")
        return {name: Seen([container.get_label(name).get_as_numpy()]) for name in container.list_labels()}

    def plate(self, path: Path) -> dict[str, Seen]:
        import ngio

        images = ngio.open_ome_zarr_plate(path, mode="r").get_images()
        return {name: self._seen(container) for name, container in images.items()}

    def _create(self, path: Any, version: str, number: int, levels: int = 1) -> Any:
        import ngio

        return ngio.create_ome_zarr_from_array(
            path,
            pixels(number),
            pixelsize=SCALE[-1],
            z_spacing=SCALE[-3],
            levels=levels,
            scaling_factors=[1.0, 1.0, 1.0, 2.0, 2.0],
            axes_names=list(AXES),
            channels_meta=CHANNELS,
            ngff_version=version,
        )

    def write_image(self, path: Path, version: str, levels: int) -> None:
        self._create(path, version, 0, levels)

    def write_labels(self, path: Path, version: str) -> None:
        label = self._create(path, version, 0).derive_label(LABEL, dtype="uint16")
        label.set_array(label_pixels())
        label.consolidate()

    def write_plate(self, path: Path, version: str) -> None:
        import ngio

        places = [ngio.ImageInWellPath(row=n[0], column=n[2], path=n[4:]) for n in FIELDS]
        plate = ngio.create_empty_plate(path, "plate", places, ngff_version=version)
        for name, place in zip(FIELDS, places, strict=True):
            store = plate.get_image_store(place.row, place.column, place.path)
            self._create(store, version, number_of(name))


class OmeZarr(Peer):
    """The reference implementation."""

    name, module, package = "ome-zarr", "ome_zarr.writer", "ome-zarr"
    by_wells = True

    def _nodes(self, path: Path) -> list[Any]:
        from ome_zarr.io import parse_url
        from ome_zarr.reader import Reader

        return list(Reader(parse_url(str(path)))())

    def _seen(self, node: Any) -> Seen:
        meta = node.metadata
        scale = meta["coordinateTransformations"][0][0]["scale"]
        axes = "".join(axis["name"] for axis in meta["axes"])
        return Seen([np.asarray(level) for level in node.data], axes, scale, meta.get("channel_names"))

    def image(self, path: Path) -> Seen:
        return self._seen(self._nodes(path)[0])

    def labels(self, path: Path) -> dict[str, Seen]:
        nodes = [node for node in self._nodes(path) if node.data and "color" in node.metadata]
        return {node.zarr.basename(): Seen([np.asarray(level) for level in node.data]) for node in nodes}

    def plate(self, path: Path) -> dict[str, Seen]:
        mosaic = np.asarray(self._nodes(path)[0].data[0])
        return {"A/1/0": Seen([quarter(mosaic, 0, 0)]), "B/2/0": Seen([quarter(mosaic, 1, 1)])}

    def _format(self, version: str) -> Any:
        from ome_zarr import format as formats

        return formats.FormatV04() if version == "0.4" else formats.FormatV05()

    def _axes(self, names: str) -> list[dict[str, str]]:
        kinds = {"t": "time", "c": "channel"}
        return [
            {"name": n, "type": kinds.get(n, "space"), **({"unit": _UNITS[n]} if n in _UNITS else {})}
            for n in names
        ]

    def _group(self, path: Path, version: str) -> Any:
        return zarr.open_group(path, mode="w", zarr_format=ZARR_FORMAT[version])

    def _write(self, group: Any, version: str, number: int, count: int = 1) -> None:
        from ome_zarr.writer import write_multiscale

        steps = [[{"type": "scale", "scale": scale}] for scale in _HALVES[:count]]
        omero = {"channels": [_channel(label) for label in CHANNELS]}
        write_multiscale(
            levels_of(pixels(number), count),
            group,
            fmt=self._format(version),
            axes=self._axes(AXES),
            coordinate_transformations=steps,
            metadata={"omero": omero},
        )

    def write_image(self, path: Path, version: str, levels: int) -> None:
        self._write(self._group(path, version), version, 0, levels)

    def write_labels(self, path: Path, version: str) -> None:
        from ome_zarr.writer import write_multiscale_labels

        group = self._group(path, version)
        self._write(group, version, 0)
        steps = [[{"type": "scale", "scale": [SCALE[0], *SCALE[2:]]}]]
        write_multiscale_labels(
            [label_pixels()],
            group,
            LABEL,
            fmt=self._format(version),
            axes=self._axes("tzyx"),
            coordinate_transformations=steps,
        )

    def write_plate(self, path: Path, version: str) -> None:
        from ome_zarr.writer import write_plate_metadata, write_well_metadata

        group, fmt = self._group(path, version), self._format(version)
        write_plate_metadata(group, ["A", "B"], ["1", "2"], ["A/1", "B/2"], fmt=fmt)
        for well in ("A/1", "B/2"):
            names = [name[4:] for name in FIELDS if name.startswith(well)]
            place = group.require_group(well)
            write_well_metadata(place, names, fmt=fmt)
            for name in names:
                self._write(place.require_group(name), version, number_of(f"{well}/{name}"))


def _channel(label: str) -> dict[str, Any]:
    window = {"start": 0, "end": 65535, "min": 0, "max": 65535}
    return {"label": label, "color": "FFFFFF", "window": window, "active": True}


def quarter(mosaic: np.ndarray, row: int, column: int) -> np.ndarray:
    """The well at a place of a stitched plate of two rows and two columns."""
    height, width = mosaic.shape[-2] // 2, mosaic.shape[-1] // 2
    return mosaic[..., row * height :, column * width :][..., :height, :width]


class NgffZarr(Peer):
    """Multiscales and plates, validated by the official schemas."""

    name, module, package = "ngff-zarr", "ngff_zarr", "ngff-zarr"

    def _seen(self, multiscales: Any) -> Seen:
        first = multiscales.images[0]
        omero = multiscales.metadata.omero
        return Seen(
            [np.asarray(image.data) for image in multiscales.images],
            "".join(first.dims),
            [first.scale[d] for d in "zyx"],
            None if omero is None else [channel.label for channel in omero.channels],
        )

    def image(self, path: Path) -> Seen:
        import ngff_zarr

        return self._seen(ngff_zarr.from_ngff_zarr(str(path), validate=True))

    def labels(self, path: Path) -> dict[str, Seen]:
        listed = documents(path, ["labels"])["labels"]["labels"]
        return {name: self.image(path / "labels" / name) for name in listed}

    def plate(self, path: Path) -> dict[str, Seen]:
        import ngff_zarr

        plate = ngff_zarr.from_hcs_zarr(str(path), validate=True)
        found = {}
        for entry in plate.metadata.wells:
            well = plate.get_well(*entry.path.split("/"))
            for index, image in enumerate(well.images):
                found[f"{entry.path}/{image.path}"] = self._seen(well.get_image(index))
        return found

    def _made(self, number: int, levels: int) -> Any:
        import ngff_zarr

        image = ngff_zarr.to_ngff_image(
            pixels(number), dims=list(AXES), scale=dict(zip(AXES, SCALE, strict=True)), axes_units=_UNITS
        )
        factors = [{"z": 1, "y": 2**n, "x": 2**n} for n in range(1, levels)]
        made = ngff_zarr.to_multiscales(image, scale_factors=factors)
        window = ngff_zarr.OmeroWindow(min=0, max=65535, start=0, end=65535)
        channels = [ngff_zarr.OmeroChannel(color="FFFFFF", window=window, label=label) for label in CHANNELS]
        made.metadata.omero = ngff_zarr.Omero(channels=channels)
        return made

    def write_image(self, path: Path, version: str, levels: int) -> None:
        import ngff_zarr

        ngff_zarr.to_ngff_zarr(str(path), self._made(0, levels), version=version)

    def write_plate(self, path: Path, version: str) -> None:
        import ngff_zarr
        from ngff_zarr.hcs import HCSPlateWriter

        plate = ngff_zarr.Plate(
            columns=[ngff_zarr.PlateColumn(name="1"), ngff_zarr.PlateColumn(name="2")],
            rows=[ngff_zarr.PlateRow(name="A"), ngff_zarr.PlateRow(name="B")],
            wells=[
                ngff_zarr.PlateWell(path="A/1", rowIndex=0, columnIndex=0),
                ngff_zarr.PlateWell(path="B/2", rowIndex=1, columnIndex=1),
            ],
            version=version,
        )
        with HCSPlateWriter(str(path), plate) as writer:
            for name in FIELDS:
                row, column, index = name.split("/")
                writer.write_well_image(
                    self._made(number_of(name), 1),
                    row_name=row,
                    column_name=column,
                    field_index=int(index),
                    acquisition_id=None,
                )


class OmeZarrModels(Peer):
    """Models of documents, strict ones; arrays by zarr-python."""

    name, module, package = "ome-zarr-models", "ome_zarr_models", "ome-zarr-models"
    names_channels = False

    def _model(self, path: Path, kind: str) -> Any:
        import ome_zarr_models

        model = ome_zarr_models.open_ome_zarr(zarr.open_group(path, mode="r"))
        if type(model).__name__ != kind:
            raise TypeError(f"{type(model).__name__} instead of {kind}")
        return model if not hasattr(model, "ome_attributes") else model.ome_attributes

    def _seen(self, path: Path, kind: str) -> Seen:
        model = self._model(path, kind)
        attributes = getattr(model, "attributes", model)
        image = attributes.multiscales[0]
        levels = [zarr.open_array(path / dataset.path, mode="r")[...] for dataset in image.datasets]
        scale = list(image.datasets[0].coordinateTransformations[0].scale)
        return Seen(levels, "".join(axis.name for axis in image.axes), scale)

    def image(self, path: Path) -> Seen:
        return self._seen(path, "Image")

    def labels(self, path: Path) -> dict[str, Seen]:
        model = self._model(path / "labels", "Labels")
        names = getattr(model, "attributes", model).labels
        found = {name: self._seen(path / "labels" / name, "ImageLabel") for name in names}
        return {name: Seen(seen.levels) for name, seen in found.items()}

    def plate(self, path: Path) -> dict[str, Seen]:
        model = self._model(path, "HCS")
        found = {}
        for entry in getattr(model, "attributes", model).plate.wells:
            well = self._model(path / entry.path, "Well")
            for image in getattr(well, "attributes", well).well.images:
                name = f"{entry.path}/{image.path}"
                found[name] = self.image(path / name)
        return found

    def write_image(self, path: Path, version: str, levels: int) -> None:
        import pydantic_zarr.v2
        import pydantic_zarr.v3
        from ome_zarr_models import v04, v05

        data = levels_of(pixels(), levels)
        spec = pydantic_zarr.v2.ArraySpec if version == "0.4" else pydantic_zarr.v3.ArraySpec
        models = v04 if version == "0.4" else v05
        names = None if version == "0.4" else list(AXES)
        keys = {"name": "v2" if version == "0.4" else "default", "separator": "/"}
        made = [
            zarr.create_array(
                {},
                data=level,
                zarr_format=ZARR_FORMAT[version],
                dimension_names=names,
                chunk_key_encoding=keys,
            )
            for level in data
        ]
        image = models.Image.new(
            array_specs=[spec.from_zarr(array) for array in made],
            paths=[str(number) for number in range(levels)],
            axes=[models.axes.Axis(**axis) for axis in OmeZarr()._axes(AXES)],
            scales=_HALVES[:levels],
            translations=[None] * levels,
        )
        group = image.to_zarr(zarr.storage.LocalStore(path), path="")
        for number, level in enumerate(data):
            group[str(number)][...] = level


class Yaozarrs(Peer):
    """Models of documents, and a validator of whole stores."""

    name, module, package = "yaozarrs", "yaozarrs", "yaozarrs"
    writes = ("0.5",)
    names_channels = False

    def _seen(self, path: Path) -> Seen:
        import yaozarrs

        group = yaozarrs.open_group(str(path))
        meta = group.ome_metadata()
        image = meta.multiscales[0]
        levels = [np.asarray(group[d.path].to_zarr_python()[...]) for d in image.datasets]
        scale = image.datasets[0].coordinateTransformations[0].scale
        omero = getattr(meta, "omero", None)
        channels = [channel.label for channel in omero.channels] if omero else None
        return Seen(levels, "".join(axis.name for axis in image.axes), list(scale), channels)

    def image(self, path: Path) -> Seen:
        import yaozarrs

        yaozarrs.validate_zarr_store(str(path))
        return self._seen(path)

    def labels(self, path: Path) -> dict[str, Seen]:
        listed = documents(path, ["labels"])["labels"]["labels"]
        return {name: self._seen(path / "labels" / name) for name in listed}

    def plate(self, path: Path) -> dict[str, Seen]:
        import yaozarrs

        yaozarrs.validate_zarr_store(str(path))
        return {name: self._seen(path / name) for name in fields_of(path)}

    def _meta(self, levels: int, names: str = AXES) -> dict[str, Any]:
        from yaozarrs import v05

        kinds = {"t": v05.TimeAxis, "c": v05.ChannelAxis}
        axes = [
            kinds.get(n, v05.SpaceAxis)(name=n, **({"unit": _UNITS[n]} if n in _UNITS else {})) for n in names
        ]
        datasets = [
            v05.Dataset(
                path=str(number),
                coordinateTransformations=[
                    v05.ScaleTransformation(scale=[scale[AXES.index(n)] for n in names])
                ],
            )
            for number, scale in enumerate(_HALVES[:levels])
        ]
        return {"multiscales": [v05.Multiscale(axes=axes, datasets=datasets)]}

    def write_image(self, path: Path, version: str, levels: int) -> None:
        from yaozarrs import v05
        from yaozarrs.write.v05 import write_image

        write_image(path, v05.Image(**self._meta(levels)), levels_of(pixels(), levels))

    def write_labels(self, path: Path, version: str) -> None:
        from yaozarrs import v05
        from yaozarrs.write.v05 import write_image

        label = v05.LabelImage(**self._meta(1, "tzyx"), image_label={})
        labels = {LABEL: (label, label_pixels())}
        write_image(path, v05.Image(**self._meta(1)), pixels(), labels=labels)

    def write_plate(self, path: Path, version: str) -> None:
        from yaozarrs import v05
        from yaozarrs.write.v05 import write_plate

        image = v05.Image(**self._meta(1))
        write_plate(path, {tuple(n.split("/")): (image, [pixels(number_of(n))]) for n in FIELDS})


class NapariOmeZarr(Peer):
    """Layers of napari: one for each channel."""

    name, module, package = "napari-ome-zarr", "napari_ome_zarr._reader", "napari-ome-zarr"
    by_wells = True

    def _layers(self, path: Path) -> list[Any]:
        from napari_ome_zarr._reader import napari_get_reader

        reader = napari_get_reader(str(path))
        if reader is None:
            raise ValueError("no reader for this path")
        return list(reader(str(path)))

    def _image(self, path: Path) -> Seen:
        layers = [layer for layer in self._layers(path) if layer[2] == "image"]
        each = [[np.asarray(level) for level in _as_list(data)] for data, _, _ in layers]
        meta = layers[0][1]
        if len(layers) == SHAPE[1]:
            names = [layer[1]["name"].rpartition(": ")[2] for layer in layers]
            levels = [np.stack(channels, axis=1) for channels in zip(*each, strict=True)]
            scale = list(meta["scale"]) if "scale" in meta else None
            return Seen(levels, None, scale, names)
        return Seen(each[0], None, None, list(meta["name"]) if isinstance(meta.get("name"), list) else None)

    def image(self, path: Path) -> Seen:
        return self._image(path)

    def labels(self, path: Path) -> dict[str, Seen]:
        layers = [layer for layer in self._layers(path) if layer[2] == "labels"]
        names = [Path(str(meta.get("name", ""))).name for _, meta, _ in layers]
        return {
            LABEL if LABEL in name else name: Seen([np.asarray(_as_list(data)[0])])
            for name, (data, _, _) in zip(names, layers, strict=True)
        }

    def plate(self, path: Path) -> dict[str, Seen]:
        mosaic = self._image(path).levels[0]
        return {"A/1/0": Seen([quarter(mosaic, 0, 0)]), "B/2/0": Seen([quarter(mosaic, 1, 1)])}


def _as_list(data: Any) -> list[Any]:
    return list(data) if isinstance(data, list | tuple) else [data]


class BioioOmeZarr(Peer):
    """Images of five dimensions; no plates."""

    name, module, package = "bioio-ome-zarr", "bioio_ome_zarr", "bioio-ome-zarr"

    def image(self, path: Path) -> Seen:
        from bioio_ome_zarr import Reader

        reader = Reader(str(path))
        levels = []
        for level in reader.resolution_levels:
            reader.set_resolution_level(level)
            levels.append(reader.data)
        reader.set_resolution_level(0)
        size = reader.physical_pixel_sizes
        channels = None if reader.channel_names is None else list(reader.channel_names)
        return Seen(levels, reader.dims.order, [size.Z, size.Y, size.X], channels)

    def labels(self, path: Path) -> dict[str, Seen]:
        listed = documents(path, ["labels"])["labels"]["labels"]
        return {name: Seen(self.image(path / "labels" / name).levels) for name in listed}

    def write_image(self, path: Path, version: str, levels: int) -> None:
        from bioio_ome_zarr.writers import Channel, OMEZarrWriter

        data = levels_of(pixels(), levels)
        writer = OMEZarrWriter(
            store=str(path),
            level_shapes=[level.shape for level in data],
            dtype=data[0].dtype,
            zarr_format=ZARR_FORMAT[version],
            channels=[Channel(label=label, color="FFFFFF") for label in CHANNELS],
            axes_names=list(AXES),
            axes_types=["time", "channel", "space", "space", "space"],
            axes_units=[_UNITS.get(n) for n in AXES],
            physical_pixel_size=SCALE,
        )
        writer.write_full_volume(data[0])


PEERS: list[type[Peer]] = [
    Iohub,
    Ngio,
    OmeZarr,
    NapariOmeZarr,
    NgffZarr,
    OmeZarrModels,
    Yaozarrs,
    BioioOmeZarr,
    ZarrPython,
    TensorStore,
]
