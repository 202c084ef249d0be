"""Collections of images in the bioformats2raw layout: their list, and their OME-XML."""

from __future__ import annotations

from collections.abc import Iterator

from platestore.checking.hierarchy.documents import refused_file, unreadable
from platestore.errors import PlatestoreError
from platestore.spec.findings import Finding
from platestore.storage.base import Storage

XML = "METADATA.ome.xml"


class _Stop(Exception):  # noqa: N818 - not an error, but the way out of a parser
    """Nothing more is to be parsed."""


def xml_findings(storage: Storage, key: str, images: int | None) -> Iterator[Finding]:
    """Whether the OME-XML of a collection is there, and describes as many images.

    Parameters
    ----------
    storage : Storage
        The store.
    key : str
        Where it should be.
    images : int, optional
        Number of images, if that is known.
    """
    file = storage.where(key)
    try:
        local = storage.local_path(key)
        refused = None if local is None else refused_file(local, file)
        data = None if refused == [] else storage.read(key) if not refused else b""
    except (OSError, ValueError, PlatestoreError) as error:
        yield unreadable(error, file)
        return
    if refused:
        yield from refused
        return
    if data is None:
        yield Finding(
            "series-xml",
            "",
            "the collection has no OME-XML",
            "advice",
            file,
            rule="OME-NGFF, bioformats2raw.layout: the OME group holds METADATA.ome.xml (SHOULD)",
        )
        return
    count = count_images(data)
    if count is None:
        yield Finding("series-xml", "", "is no XML that can be read", "warning", file)
    elif images is not None and count != images:
        yield Finding(
            "series-count",
            "",
            f"the OME-XML describes {count} images, and the collection has {images}",
            "warning",
            file,
            str(count),
            str(images),
            "OME-NGFF, bioformats2raw.layout: images are in the order of those in the OME-XML (MUST)",
        )


def count_images(data: bytes) -> int | None:
    """How many ``Image`` elements an OME-XML document has below its root; None if it is no XML.

    Entities are not expanded: a document that declares some is not read.
    """
    from xml.parsers import expat

    parser = expat.ParserCreate()
    depth = count = 0

    def start(name: str, _: object) -> None:
        nonlocal depth, count
        count += depth == 1 and name.rpartition(":")[2] == "Image"
        depth += 1

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise _Stop

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, _Stop):
        return None
    return count
