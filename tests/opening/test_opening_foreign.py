"""Stores of other programs whose flaws readers get over: they open, or the error says where the flaw is."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import platestore as ps
from platestore import multiscales

PIXELS = np.arange(192, dtype="u2").reshape(12, 16)
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}


def edit(path, change):
    content = json.loads(path.read_text()) if path.exists() else {}
    change(content)
    path.write_text(json.dumps(content))


def document(path, version):
    return path / ("zarr.json" if version == "0.5" else ".zattrs")


@pytest.fixture
def image(tmp_path, version):
    """A small image of two axes, as it should be."""
    axes = [ps.AxisMeta(name=n, type="space") for n in "yx"]
    path = tmp_path / "x.zarr"
    with ps.open_ome_zarr(
        path, layout="fov", mode="w-", channel_names=["a"], axes=axes, version=version
    ) as position:
        position.create_image("0", PIXELS, chunks=(12, 16), compressor="none")
    return path


def opened(path, **kwargs):
    """A node, and what was warned about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        node = ps.open_ome_zarr(path, **kwargs)
        pixels = node["0"].numpy()
    return node, pixels, " ".join(str(w.message) for w in caught if issubclass(w.category, ps.StoreWarning))


# --- arrays ---------------------------------------------------------------------------------------

SHARDED = [
    {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [6, 8],
            "codecs": ["bytes", "crc32c"],
            "index_codecs": ["bytes", "crc32c"],
        },
    }
]


@pytest.mark.parametrize("version", ["0.5"])
@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"codecs": ["bytes"], "data_type": "uint8"}, ""),
        ({"codecs": ["bytes", "crc32c"], "data_type": "uint8"}, ""),
        ({"codecs": [LITTLE], "data_type": {"name": "uint16"}}, ""),
        ({"codecs": [LITTLE], "data_type": {"name": "uint16", "configuration": {}}}, ""),
        ({"codecs": [LITTLE], "chunk_key_encoding": "default"}, ""),
        ({"codecs": SHARDED, "data_type": "uint8"}, "index_codecs[0].configuration.endian"),
        ({"codecs": ["bytes"]}, "codecs[0].configuration.endian"),
        ({"codecs": [{"name": "bytes", "configuration": {}}]}, "codecs[0].configuration.endian"),
        ({"codecs": [LITTLE, "zstd"]}, "codecs[1].configuration: zstd lacks level"),
        ({"codecs": [LITTLE, {"name": "gzip"}]}, "codecs[1].configuration: gzip lacks level"),
        (
            {
                "codecs": [
                    LITTLE,
                    {
                        "name": "blosc",
                        "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 0},
                    },
                ]
            },
            "blosc lacks typesize",
        ),
        ({"codecs": [LITTLE], "fill_value": None}, "fill_value: is null"),
    ],
    ids=str,
)
def test_short_forms_and_gaps_of_array_documents(image, change, flaw):
    """What strict readers refuse is guessed, and told by opening, validation and check alike."""
    array = image / "0" / "zarr.json"
    content = json.loads(array.read_text())
    content.update(change)
    full = {**content, "codecs": [LITTLE], "data_type": content["data_type"]}
    array.write_text(json.dumps(full))
    # Chunks are written by the complete document, so that a wrong guess would read others.
    codecs = spelled(content)
    array.write_text(json.dumps({**content, **codecs}))
    kind = content["data_type"]["name"] if isinstance(content["data_type"], dict) else content["data_type"]
    with ps.open_ome_zarr(image, mode="r+") as position:
        position["0"][...] = PIXELS.astype(kind)
    array.write_text(json.dumps(content))

    _, pixels, warned = opened(image)
    assert np.array_equal(pixels, PIXELS.astype(kind))
    errors = [str(f) for f in ps.validate(image).errors]
    found = [f for f in ps.check(image, deep=True).findings if f.level != "advice"]
    if not flaw:
        assert (warned, errors, found) == ("", [], [])
        return
    assert flaw in warned
    assert any(flaw in text for text in errors)
    assert any(flaw in str(f) and f.repair for f in found)
    assert ps.check(image, repair=True).whole
    assert ps.validate(image).valid
    _, pixels, warned = opened(image)
    assert np.array_equal(pixels, PIXELS.astype(kind))
    assert not warned


def spelled(content):
    """The parts of a document that are short, as a strict reader wants them."""
    from platestore.storage.extensions import plain_array

    return {key: value for key, value in plain_array(content, 3)[0].items() if key in content}


@pytest.mark.parametrize("version", ["0.5"])
@pytest.mark.parametrize("order", [[1, 0], [0, 1]])
def test_shards_behind_a_transposition(image, order, tmp_path):
    import tensorstore

    inner = [8, 6] if order == [1, 0] else [6, 8]
    sharding = {"chunk_shape": inner, "codecs": [LITTLE], "index_codecs": [LITTLE, {"name": "crc32c"}]}
    turned = {"name": "transpose", "configuration": {"order": order}}
    chain = [turned, {"name": "sharding_indexed", "configuration": sharding}]
    edit(image / "0" / "zarr.json", lambda content: content.update(codecs=chain))
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{image}/0/"}}
    tensorstore.open(spec, open=True).result().write(PIXELS).result()

    node, pixels, warned = opened(image)
    assert np.array_equal(pixels, PIXELS)
    assert not warned
    assert ps.validate(image).valid
    assert ps.check(image, deep=True).whole
    ps.copy(str(image), str(tmp_path / "c.zarr"), version="0.4", verify=True)
    assert np.array_equal(ps.open_ome_zarr(tmp_path / "c.zarr")["0"][:], PIXELS)
    assert np.array_equal(node["0"][3:5, 2:9], PIXELS[3:5, 2:9])


@pytest.mark.parametrize("version", ["0.5"])
def test_shards_that_do_not_fit_the_turned_chunk_are_an_error(image):
    sharding = {"chunk_shape": [6, 5], "codecs": [LITTLE], "index_codecs": [LITTLE]}
    turned = {"name": "transpose", "configuration": {"order": [1, 0]}}
    chain = [turned, {"name": "sharding_indexed", "configuration": sharding}]
    edit(image / "0" / "zarr.json", lambda content: content.update(codecs=chain))
    assert [f.code for f in ps.validate(image).errors] == ["array-document"]


def test_a_codec_that_is_not_here(image, version, tmp_path):
    """It is named by opening, validation and check; a copy as it is needs no decoding."""
    if version == "0.5":
        edit(image / "0/zarr.json", lambda content: content["codecs"].append({"name": "of.tomorrow"}))
    else:
        edit(image / "0/.zarray", lambda content: content.update(compressor={"id": "of.tomorrow"}))
    with pytest.raises(NotImplementedError, match=r"of\.tomorrow") as caught:
        ps.open_ome_zarr(image)["0"]
    assert "correct the document" not in str(caught.value)
    assert [f.code for f in ps.validate(image).of("warning")] == ["codec-unknown"]
    for deep in (False, True):
        report = ps.check(image, deep=deep)
        assert [f.code for f in report.findings if f.level != "advice"] == ["codec-unknown"]
        assert not report.whole
    copied = ps.copy(str(image), str(tmp_path / "c.zarr"), verify=True)
    assert [array.how for array in copied.arrays] == ["files"]


def test_an_array_of_the_other_version_of_zarr(image, version):
    """A v2 array in a v3 group, and the reverse, is read with a warning, by its own document."""
    if version == "0.5":
        (image / "0/zarr.json").unlink()
        chunk = image / "0/c/0/0"
        zarray = {
            "zarr_format": 2, "shape": [12, 16], "chunks": [12, 16], "dtype": "<u2", "fill_value": 0,
            "order": "C", "filters": None, "compressor": None, "dimension_separator": "/",
        }  # fmt: skip
        (image / "0/.zarray").write_text(json.dumps(zarray))
        (image / "0/0").mkdir()
        chunk.rename(image / "0/0/0")
    else:
        for name in (".zarray", ".zattrs"):
            (image / "0" / name).unlink()
        keys = {"name": "v2", "configuration": {"separator": "/"}}
        content = {
            "zarr_format": 3, "node_type": "array", "shape": [12, 16], "data_type": "uint16",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [12, 16]}},
            "chunk_key_encoding": keys, "fill_value": 0, "codecs": [LITTLE], "attributes": {},
        }  # fmt: skip
        (image / "0/zarr.json").write_text(json.dumps(content))
    _, pixels, warned = opened(image)
    assert np.array_equal(pixels, PIXELS)
    assert "formats-mixed" in warned
    assert "formats-mixed" in [f.code for f in ps.validate(image).errors]


# --- groups ---------------------------------------------------------------------------------------


def test_an_image_in_the_document_of_a_collection(image, version):
    """bioformats2raw writes a single image so, if it is told to leave out the number of the series."""

    def add(content):
        ome = content["attributes"]["ome"] if version == "0.5" else content
        ome["bioformats2raw.layout"] = 3

    edit(document(image, version), add)
    for layout in ("auto", "fov"):
        node, pixels, warned = opened(image, layout=layout)
        assert isinstance(node, ps.Position)
        assert np.array_equal(pixels, PIXELS)
        assert not warned
    assert np.array_equal(np.asarray(multiscales.from_ngff_zarr(str(image)).images[0].data), PIXELS)
    assert ps.validate(image).valid
    assert ps.check(image).whole


def nowhere(content, version):
    """Take the metadata out of a document."""
    if version == "0.5":
        return content["attributes"].pop("ome")
    parts = {"multiscales": content.pop("multiscales"), "omero": content.pop("omero", None)}
    return {key: value for key, value in parts.items() if value is not None}


PLACES = {
    "the top level of zarr v3": ("0.5", lambda c, ome: c["attributes"].update(ome), "at the top level"),
    "beside the attributes": ("0.5", lambda c, ome: c.update(ome=ome), "'ome'"),
    "attributes in attributes": (
        "0.5",
        lambda c, ome: c["attributes"].update(attributes={"ome": ome}),
        "'attributes.attributes.ome'",
    ),
    "a key in another case": ("0.5", lambda c, ome: c["attributes"].update(OME=ome), "'attributes.OME'"),
    "inside ome of zarr v2": ("0.4", lambda c, ome: c.update(ome=ome), "inside 'ome', as in 0.5"),
    "attributes of zarr v2": ("0.4", lambda c, ome: c.update(attributes=ome), "'attributes'"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("version", "put", "words"), [pytest.param(*row, id=place) for place, row in PLACES.items()]
)
def test_metadata_in_another_place(image, version, put, words):
    """Opening, validation and check name the place alike."""
    edit(document(image, version), lambda content: put(content, nowhere(content, version)))
    with pytest.raises(ps.InvalidMetadataError) as caught:
        ps.open_ome_zarr(image)
    assert words in str(caught.value)
    assert any(words in str(f) for f in ps.validate(image).errors)
    report = ps.check(image)
    assert not report.whole
    assert any(words in str(f) for f in report.findings)


@pytest.mark.parametrize("version", ["0.4"])
def test_an_empty_document_of_zarr_v3_beside_those_of_v2(image):
    content = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    (image / "zarr.json").write_text(json.dumps(content))
    with pytest.raises(ps.InvalidMetadataError, match=r"\.zattrs"):
        ps.open_ome_zarr(image)
    assert any(".zattrs" in str(f) for f in ps.validate(image).errors)
    assert any(".zattrs" in str(f) for f in ps.check(image).findings if f.level == "error")


# --- label images ---------------------------------------------------------------------------------


@pytest.fixture(params=["as iohub does", "as a plain list"])
def labelled(image, version, request):
    """An image whose label images are listed in its own document."""
    with ps.open_ome_zarr(image, mode="r+") as position:
        position.create_label("n", PIXELS)
        position.create_label("m", PIXELS)
    listed = {"labels": ["n", "m"]} if request.param == "as iohub does" else ["n", "m"]
    if version == "0.4":
        (image / "labels/.zattrs").unlink()
        edit(image / ".zattrs", lambda content: content.update(labels=listed))
    else:
        edit(image / "labels/zarr.json", lambda content: content.update(attributes={}))
        edit(image / "zarr.json", lambda content: content["attributes"]["ome"].update(labels=listed))
    return image


def test_labels_listed_in_the_document_of_the_image_are_read(labelled):
    position = ps.open_ome_zarr(labelled)
    with pytest.warns(ps.StoreWarning, match="not in that of 'labels': n, m"):
        assert position.label_names == ["n", "m"]
    with pytest.warns(ps.StoreWarning):
        assert np.array_equal(position.get_label("m")["0"][:], PIXELS)
    assert "labels-misplaced" in [f.code for f in ps.validate(labelled).errors]
    assert [f.code for f in ps.check(labelled).findings if f.level != "advice"] == ["labels-misplaced"]


def test_a_repair_moves_the_list(labelled):
    assert ps.check(labelled, repair=True).whole
    assert ps.validate(labelled).valid
    assert ps.open_ome_zarr(labelled).label_names == ["n", "m"]


def test_a_new_label_image_joins_those_listed_elsewhere(labelled):
    with pytest.warns(ps.StoreWarning), ps.open_ome_zarr(labelled, mode="r+") as position:
        position.create_label("k", PIXELS)
    assert ps.open_ome_zarr(labelled).label_names == ["n", "m", "k"]
    with ps.open_ome_zarr(labelled, mode="r+") as position:
        position.delete_label("n")
    assert ps.open_ome_zarr(labelled).label_names == ["m", "k"]


def test_only_label_images_that_are_there_are_taken_from_such_a_list(labelled, version):
    def add(content):
        ome = content["attributes"]["ome"] if version == "0.5" else content
        listed = ome["labels"] if isinstance(ome["labels"], list) else ome["labels"]["labels"]
        listed += ["gone", "../../x", "", 3]

    edit(document(labelled, version), add)
    with pytest.warns(ps.StoreWarning):
        assert ps.open_ome_zarr(labelled).label_names == ["n", "m"]


# --- documents of zarr that lack a key, or say more than is known -----------------------------------


@pytest.mark.parametrize("version", ["0.4"])
@pytest.mark.parametrize("key", ["compressor", "filters", "fill_value", "order"])
def test_keys_that_a_document_of_v2_lacks(image, key):
    """They are guessed, and told by opening, validation and check alike; a repair puts them there."""
    edit(image / "0/.zarray", lambda content: content.pop(key))
    _, pixels, warned = opened(image)
    assert np.array_equal(pixels, PIXELS)
    assert f"{key}: is missing" in warned
    assert [(f.code, f.location) for f in ps.validate(image).errors] == [("array-document", key)]
    assert [(f.code, f.location) for f in ps.check(image, deep=True).findings] == [("array-document", key)]
    assert ps.check(image, repair=True).whole
    assert ps.validate(image).valid
    assert opened(image)[2] == ""


@pytest.mark.parametrize("version", ["0.4"])
def test_an_empty_list_of_filters_is_none(image):
    edit(image / "0/.zarray", lambda content: content.update(filters=[]))
    _, pixels, warned = opened(image)
    assert np.array_equal(pixels, PIXELS)
    assert not warned
    assert ps.check(image, deep=True).whole


@pytest.mark.parametrize("version", ["0.5"])
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"storage_transformers": [{"name": "x"}]}, NotImplementedError),
        ({"of_tomorrow": 1}, ValueError),
        ({"of_tomorrow": {"must_understand": True}}, ValueError),
        ({"data_type": "<u2"}, ValueError),
    ],
    ids=str,
)
def test_what_nothing_here_understands_is_no_pixels(image, change, error):
    """What may change the pixels is never read as if it were not there."""
    edit(image / "0/zarr.json", lambda content: content.update(change))
    with pytest.raises(error, match=r"x\.zarr"):
        ps.open_ome_zarr(image)["0"]
    assert not ps.check(image).whole
    assert [f for f in ps.validate(image).findings if f.level != "advice"]


@pytest.mark.parametrize("version", ["0.5"])
@pytest.mark.parametrize(
    "change",
    [
        {"of_tomorrow": {"must_understand": False}},
        {"storage_transformers": []},
        {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}, "must_understand": True}]},
    ],
    ids=str,
)
def test_what_need_not_be_understood_is_passed_over(image, change):
    edit(image / "0/zarr.json", lambda content: content.update(change))
    assert np.array_equal(opened(image)[1], PIXELS)
    assert ps.validate(image).valid
    assert ps.check(image, deep=True).whole


# --- groups that say nothing, and paths -------------------------------------------------------------


def test_a_group_above_an_image_says_what_can_be_opened(tmp_path, image, version):
    above = tmp_path / "above.zarr"
    above.mkdir()
    if version == "0.5":
        content = {"zarr_format": 3, "node_type": "group", "attributes": {}}
        (above / "zarr.json").write_text(json.dumps(content))
    else:
        (above / ".zgroup").write_text('{"zarr_format": 2}')
    image.rename(above / "img")
    with pytest.raises(ps.InvalidMetadataError, match="'img' is an image"):
        ps.open_ome_zarr(above)


@pytest.mark.parametrize("spelling", ["./0", "0/", "0"])
def test_paths_with_dots_and_slashes_are_what_they_mean(image, version, spelling):
    """Opening, validation and check read them alike."""

    def change(content):
        ome = content["attributes"]["ome"] if version == "0.5" else content
        ome["multiscales"][0]["datasets"][0]["path"] = spelling

    edit(document(image, version), change)
    assert np.array_equal(opened(image)[1], PIXELS)
    assert ps.validate(image).valid
    assert ps.check(image, deep=True).whole


def test_metadata_of_an_image_in_the_document_of_its_array(image, version):
    """Opening, validation and check say where it belongs."""
    taken = {}

    def take(content):
        attributes = content["attributes"] if version == "0.5" else content
        taken.update(attributes)
        attributes.clear()

    def give(content):
        (content.setdefault("attributes", {}) if version == "0.5" else content).update(taken)

    edit(document(image, version), take)
    edit(document(image / "0", version), give)
    with pytest.raises(ps.InvalidMetadataError, match="the group around it"):
        ps.open_ome_zarr(image / "0")
    assert "metadata-misplaced" in [f.code for f in ps.validate(image / "0").errors]
    assert "metadata-misplaced" in [f.code for f in ps.check(image / "0").findings]
    assert not ps.check(image).whole


def test_a_field_whose_metadata_lie_elsewhere_is_named(tmp_path, version):
    """It is no empty field, and hides no other."""
    path = tmp_path / "p.zarr"
    with ps.open_ome_zarr(path, layout="hcs", mode="w-", channel_names=["a"], version=version) as plate:
        for column in "12":
            plate.create_position("A", column, "0").create_image("0", np.ones((1, 1, 1, 4, 4), "u1"))

    def move(content):
        if version == "0.5":
            content["attributes"].update(content["attributes"].pop("ome"))
        else:
            parts = dict(content)
            content.clear()
            content["ome"] = parts

    edit(document(path / "A/1/0", version), move)
    with pytest.warns(ps.UnreadableWarning, match="but the group is of zarr v"):
        assert [name for name, _ in ps.open_ome_zarr(path).positions()] == ["A/2/0"]
    assert not ps.check(path).whole
    assert not ps.validate(path).valid
