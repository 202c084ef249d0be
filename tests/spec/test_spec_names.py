"""Names and paths: the whole string counts, on every system, and nothing leads out of the store."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platestore as ps
from conftest import examples
from platestore.spec.names import check_field_name, check_image_name, normalise_key, split_path

quick = settings(deadline=None, max_examples=examples(60))

DEVICES = ["CON", "con", "Con", "PRN", "AUX", "NUL", "nul", "COM1", "com9", "LPT1", "lpt9"]
NOT_STRINGS = [None, 1, 1.5, True, b"A", ["A"], ("A",)]
NEVER = [
    "",
    " ",
    "A ",
    " A",
    "A B",
    "A\n",
    "\nA",
    "A\r\n",
    "A\0",
    "A\t",
    "A/1",
    "A\\1",
    "/",
    ".",
    "..",
    "../A",
    "Ä",
    "é",
    "²",
    "٣",
    "Ａ",
    "µ",
    "🔬",
    "A:",
    "A*",
    "A?",
    "A|B",
    'A"',
    "<A>",
]


@pytest.mark.parametrize("kind", ["row", "column", "position"])
@pytest.mark.parametrize("name", NEVER, ids=repr)
def test_field_names_are_letters_and_digits_as_a_whole(name, kind):
    with pytest.raises(ps.InvalidNameError, match=kind):
        check_field_name(name, kind)


@pytest.mark.parametrize("name", ["A-1", "A_1", "A.1", ".A", "_A", "-A", "A.", "__A"])
def test_field_names_have_no_punctuation(name):
    with pytest.raises(ValueError):
        check_field_name(name, "row")


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("check", [lambda n: check_field_name(n, "row"), check_image_name])
def test_device_names_of_windows_are_refused_everywhere(name, check):
    with pytest.raises(ps.InvalidNameError, match="Windows"):
        check(name)


@pytest.mark.parametrize("name", ["CONA", "ACON", "COM", "COM10", "LPT", "NULL", "A", "1", "AA", "0", "x1Y"])
def test_names_that_only_look_like_devices_are_legal(name):
    assert check_field_name(name, "row") == name
    assert check_image_name(name) == name


@pytest.mark.parametrize("name", NOT_STRINGS, ids=repr)
def test_a_name_is_a_string(name):
    for check in (lambda n: check_field_name(n, "row"), check_image_name):
        with pytest.raises(ps.InvalidNameError, match="string"):
            check(name)


@quick
@given(st.text(alphabet=string.ascii_letters + string.digits, min_size=1, max_size=12))
def test_every_alphanumeric_name_is_legal_or_a_device(name):
    if name.lower() in {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(10))}:
        with pytest.raises(ps.InvalidNameError):
            check_field_name(name, "row")
    else:
        assert check_field_name(name, "row") == name


@quick
@given(st.text(min_size=1, max_size=6))
def test_no_other_text_is_legal(name):
    plain = set(name) <= set(string.ascii_letters + string.digits)
    if not plain:
        with pytest.raises(ps.InvalidNameError):
            check_field_name(name, "column")


@pytest.mark.parametrize("name", ["0", "raw", "level_1", "a-b", "a.b", "_x", "s0", "0.5x", "Deconvolved-2"])
def test_image_names_may_have_inner_punctuation(name):
    assert check_image_name(name) == name


@pytest.mark.parametrize(
    "name", [*NEVER, ".hidden", "a.", "__a", "con.tif", "nul.x.y", "zarr.json"], ids=repr
)
def test_image_names_are_one_portable_segment(name):
    with pytest.raises(ps.InvalidNameError):
        check_image_name(name)


@pytest.mark.parametrize("name", ["labels", "OME"])
def test_image_names_do_not_take_the_specifications_own(name):
    with pytest.raises(ps.InvalidNameError, match="another meaning"):
        check_image_name(name)


def test_name_errors_are_value_errors_with_a_hint():
    with pytest.raises(ValueError, match="A-Z") as caught:
        check_field_name("Ä1", "row")
    assert "'Ä1'" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("0", "0"),
        ("A/1", "A/1"),
        ("A//1", "A/1"),
        ("./0", "0"),
        ("A/1/", "A/1"),
        ("a b", "a b"),
        ("A\\1", "A/1"),
    ],
)
def test_paths_in_documents_are_relative(path, clean):
    assert split_path(path, location="here", document="doc") == clean


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "./",
        "..",
        "../0",
        "0/..",
        "A/../../x",
        "/etc/passwd",
        "/0",
        "\\0",
        "\\\\server\\share",
        "..\\x",
        "A\\..\\..\\x",
        "C:/x",
        "C:\\x",
        "c:",
        "0\0",
    ],
    ids=repr,
)
def test_paths_that_leave_the_store_are_an_error_naming_the_field(path):
    with pytest.raises(ps.InvalidMetadataError, match=r"plate\.wells\[3\]\.path") as caught:
        split_path(path, location="plate.wells[3].path", document="/data/p.zarr")
    assert "/data/p.zarr" in str(caught.value)


@quick
@given(st.text(alphabet="ab./\\:C\0", max_size=12))
def test_whatever_a_document_says_a_path_stays_inside_or_is_an_error(path):
    try:
        clean = split_path(path, location="l", document="d")
    except ps.InvalidMetadataError:
        return
    segments = clean.split("/")
    assert not clean.startswith("/")
    assert not {"", ".", ".."} & set(segments)
    assert "\\" not in clean
    assert "\0" not in clean


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("A/1", "A/1"),
        (0, "0"),
        (12, "12"),
        ("/A/1/", "A/1"),
        ("A//1", "A/1"),
        ("A\\1", "A/1"),
        (("A", "1"), "A/1"),
    ],
)
def test_keys_of_users_are_paths(key, path):
    assert normalise_key(key) == path


@pytest.mark.parametrize("key", [None, 1.5, True, b"A", "..", "A/../../B", "A\\..\\B"], ids=repr)
def test_keys_that_are_none_are_value_errors(key):
    with pytest.raises(ps.InvalidNameError):
        normalise_key(key)
