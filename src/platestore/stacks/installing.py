"""An image that is complete gets its place: of its own, in a plate, or in a position without an image."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from platestore.errors import NodeExistsError
from platestore.publish import targets
from platestore.spec import versions
from platestore.spec.multiscales import ImagesMeta
from platestore.spec.values import Json
from platestore.stacks.workplace import StackWorkPlace
from platestore.storage.hierarchy import create_node, group_files
from platestore.tree.image import ImageEditor
from platestore.tree.opening import open_editor

if TYPE_CHECKING:
    from platestore.tree.editor import Draft


def install(place: StackWorkPlace, content: Json) -> None:
    """Give the image its place; every step can be repeated."""
    place.beside.put_back()
    if content["fills"]:
        _fill_position(place, content)
    elif place.destination.root is not None:
        _add_to_plate(place, content)
    elif not place.beside.is_installed():
        _write_root(place, content)
        replace = bool(content["overwrite"])
        if targets.exists(place.final) and replace:
            targets.check_replaceable(place.final, check_name=False)
        place.beside.install(replace=replace)


def _write_root(place: StackWorkPlace, content: Json) -> None:
    """Write the document that makes it an image."""
    files = group_files(content["zarr_format"], content["attributes"], where=place.final)
    create_node(place.storage(), "", files)


def _add_to_plate(place: StackWorkPlace, content: Json) -> None:
    """Move the image into the plate, and list it."""
    destination = place.destination
    plate = destination.plate("process")
    inner = destination.inner
    if inner in plate and not os.path.lexists(place.data):
        return
    if os.path.lexists(place.data):
        _write_root(place, content)
    destination.add(plate, [(inner.rpartition("/")[2], None)], is_well=False)


def _fill_position(place: StackWorkPlace, content: Json) -> None:
    """Move the arrays into a position that is there without an image, then list them."""
    position = _empty_position(place)
    location, storage = position.location, position.location.storage
    names = [str(k) for k in range(len(content["documents"]))]
    with storage.lock(location.path):
        listed = position.peek().paths()
        if listed and not all(name in listed for name in names):
            raise NodeExistsError("the position got an image meanwhile", path=place.final)
        if listed:
            return
        for name in names:
            new, old = os.path.join(place.data, name), os.path.join(place.final, name)
            if os.path.lexists(new):
                if os.path.lexists(old):
                    raise NodeExistsError("there is something already", path=old, hint="move it away")
                os.rename(new, old)
        position.commit(lambda draft: _list(draft, content))


def _empty_position(place: StackWorkPlace) -> ImageEditor:
    node = open_editor(place.final, mode="r+")
    if not isinstance(node, ImageEditor):
        raise NodeExistsError(f"is no position, but a {node.title}", path=place.final)
    return node


def _list(draft: Draft[ImagesMeta], content: Json) -> None:
    """Take over what the plan says of the image; what the position says of itself stays."""
    ngff = versions.adapter(content["version"])
    parts = ngff.unpack(json.loads(json.dumps(content["attributes"])), "image")
    ours = ImagesMeta.model_validate(parts)
    image, new = draft.meta.multiscales[0], ours.multiscales[0]
    image.datasets, image.type, image.metadata = new.datasets, new.type, new.metadata
    if draft.meta.omero is None:
        draft.meta.omero = ours.omero
    elif ours.omero is not None:
        for mine, theirs in zip(draft.meta.omero.channels, ours.omero.channels, strict=False):
            mine.window = mine.window or theirs.window
