"""Draws plate.png, the picture in the README: ``python docs/picture.py`` needs platestore and nothing else.

On the left the plate that ``platestore demo`` builds, with the first field of each well in its place; on the
right the two fields of one well. Channels have the colors and contrast windows that the store gives them.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np

import platestore
from platestore.demo import build_demo

PITCH, WELL, GAP = 52, 48, 24
PAPER, EMPTY, FRAME = (255, 255, 255), (232, 234, 238), (235, 130, 20)


def composite(position: platestore.Position) -> np.ndarray:
    """The brightest value along Z of each channel in its color, added up. Shape (y, x, 3), uint8."""
    image = position["0"].numpy()[0].max(axis=1)
    picture = np.zeros((*image.shape[1:], 3))
    for channel, pixels in zip(position.metadata.omero.channels, image, strict=True):
        window = channel.window
        light = np.clip((pixels - window["start"]) / (window["end"] - window["start"]), 0, 1)
        picture += light[..., None] * np.frombuffer(bytes.fromhex(channel.color), np.uint8)
    return np.clip(picture, 0, 255).astype(np.uint8) & 0xF8  # fewer shades: a file of half the size


def disc(size: int) -> np.ndarray:
    """True inside the circle that fits into a square of this size."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(y, x) <= size / 2


def draw(plate: platestore.Plate) -> np.ndarray:
    """The picture. Shape (y, x, 3), uint8."""
    rows, columns = len(plate.metadata.rows), len(plate.metadata.columns)
    field = (rows * PITCH - GAP) // 2
    canvas = np.full((rows * PITCH, columns * PITCH + GAP + field, 3), PAPER, np.uint8)
    inside = disc(WELL)
    for row in range(rows):
        for column in range(columns):
            canvas[row * PITCH :, column * PITCH :][:WELL, :WELL][inside] = EMPTY
    shown = {}
    for path, well in plate.wells():
        entry = next(entry for entry in plate.metadata.wells if entry.path == path)
        fields = [composite(position) for _, position in well.positions()]
        place = canvas[entry.row_index * PITCH :, entry.column_index * PITCH :][:WELL, :WELL]
        step = fields[0].shape[0] // WELL
        place[inside] = fields[0][: WELL * step : step, : WELL * step : step][inside]
        shown[path] = fields
    for number, picture in enumerate(shown["B/2"]):
        index = np.arange(field) * picture.shape[0] // field
        canvas[number * (field + GAP) :, -field:][:field, :field] = picture[index][:, index]
    # A ring around the well whose fields are shown.
    y, x = np.mgrid[:WELL, :WELL] - (WELL - 1) / 2
    ring = inside & (np.hypot(y, x) > WELL / 2 - 3)
    canvas[PITCH:, PITCH:][:WELL, :WELL][ring] = FRAME
    return canvas


def png(pixels: np.ndarray) -> bytes:
    """An RGB picture as the bytes of a PNG file."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = part(b"IHDR", head) + part(b"IDAT", zlib.compress(lines, 9)) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        build_demo(f"{directory}/demo.zarr")
        with platestore.open_ome_zarr(f"{directory}/demo.zarr", layout="hcs") as plate:
            Path(__file__).with_name("plate.png").write_bytes(png(draw(plate)))
