"""Archives that are damaged or made to do harm: read as far as is safe, and never unpacked."""

from __future__ import annotations

import contextlib
import stat
import warnings
import zlib

import pytest
from archive_cases import DEFLATED, ROOT, Entry, build, zipped

import platestore as ps
from platestore.storage import ozx
from platestore.storage.base import ReadBuffer, StorageOptions
from platestore.storage.ozx import OzxStorage

LINK = stat.S_IFLNK | 0o777


def opened(tmp_path, data: bytes) -> OzxStorage:
    path = tmp_path / "x.ozx"
    path.write_bytes(data)
    return OzxStorage(str(path), StorageOptions())


def warned(tmp_path, data: bytes) -> tuple[OzxStorage, str]:
    """The storage, and the one warning that it gave."""
    with pytest.warns(ps.StoreWarning) as caught:
        storage = opened(tmp_path, data)
    assert len(caught) == 1
    return storage, str(caught[0].message)


def refused(storage: OzxStorage) -> str:
    with pytest.raises(ps.InvalidMetadataError, match="cannot be unpacked safely") as caught:
        storage.check_unpackable()
    assert str(storage.path) in str(caught.value)
    return str(caught.value)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "A/../../evil",
        "A/..",
        "..",
        "/etc/evil",
        "//evil",
        "A\\..\\evil",
        "C:/evil",
        "c:evil",
        "A//evil",
        "./evil",
        "A/./evil",
        "evil\0.json",
        "../",
        "/",
        "a/" * 2500 + "c",
    ],
)
def test_names_that_are_no_keys_are_left_out(tmp_path, name):
    # zipfile would cut a name at its NUL; here it is read as it is.
    data = build(Entry("A/zarr.json", b"{}"), Entry(name, b"" if name.endswith("/") else b"evil"))
    storage, message = warned(tmp_path, data)
    assert list(storage.entries) == ["zarr.json", "A/zarr.json"]
    assert sorted(storage.keys("")) == ["A/zarr.json", "zarr.json"]
    assert storage.read(name) is None
    assert repr(name[:200])[:-1] in message
    assert repr(name[:200])[:-1] in refused(storage)


def test_names_that_are_not_the_utf8_they_are_marked_as_are_left_out(tmp_path):
    storage, _ = warned(tmp_path, build(Entry(b"A\xff", b"x")))
    assert list(storage.entries) == ["zarr.json"]
    refused(storage)


def test_names_in_the_code_page_of_old_are_read(tmp_path):
    storage = opened(tmp_path, build(Entry(b"\x81ber/c", b"x", flags=0)))
    assert storage.read("über/c") == b"x"


def test_of_entries_of_one_name_the_last_counts(tmp_path):
    data = build(Entry("A/c", b"old"), Entry("B/c", b"other"), Entry("A/c", b"newer"))
    storage, message = warned(tmp_path, data)
    assert storage.read("A/c") == b"newer"
    assert storage.size_of("A/c") == 5
    assert storage.list("A") == ([], ["c"])
    assert "more than once" in message
    assert "'A/c'" in refused(storage)


@pytest.mark.parametrize(
    "names", [("A/c", "a/c"), ("A/1/c", "A/1/C"), ("A/1/c", "a/2/c"), ("straße", "STRASSE")]
)
def test_names_that_differ_in_case_only_are_read_but_not_unpacked(tmp_path, names):
    storage = opened(tmp_path, build(*(Entry(name, name.encode()) for name in names)))
    for name in names:
        assert storage.read(name) == name.encode()
    assert "differ in case only" in refused(storage)


def test_a_file_that_is_a_directory_too_is_not_unpacked(tmp_path):
    storage = opened(tmp_path, build(Entry("A/1/c"), Entry("A/1")))
    assert storage.read("A/1/c") == b"content"
    assert "both a file and a directory" in refused(storage)


def test_a_name_of_many_segments_is_listed(tmp_path):
    name = "/".join("a" * 2000)
    storage = opened(tmp_path, build(Entry(name)))
    assert list(storage.keys("")) == ["zarr.json", name]
    assert storage.list("a/a") == (["a"], [])


def test_a_warning_and_an_error_name_a_few_of_many(tmp_path):
    storage, message = warned(tmp_path, build(*(Entry(f"../{n}") for n in range(50))))
    assert message.count("../") == 5
    assert "(50)" in message
    assert "and 45 more" in refused(storage)


def test_a_directory_with_content_is_left_out(tmp_path):
    storage, _ = warned(tmp_path, build(Entry("A/", b"content")))
    assert list(storage.entries) == ["zarr.json"]
    refused(storage)


# --- entries that cannot be read ------------------------------------------------------------------

UNREADABLE = {
    "a link": Entry("A/c", b"/etc/passwd", mode=LINK),
    "no regular file": Entry("A/c", b"", mode=stat.S_IFIFO | 0o644),
    "encrypted": Entry("A/c", flags=0x801),
    "a method that is not read": Entry("A/c", method=12),
    "outside": Entry("A/c", compressed=10_000, size=10_000),
    "another size": Entry("A/c", size=8),
    "more bytes than it can hold": Entry("A/c", bytes(2000), DEFLATED, size=10**9),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_entry_that_cannot_be_read_does_not_pass_for_a_chunk_never_written(tmp_path, case):
    storage, message = warned(tmp_path, build(Entry("A/zarr.json", b"{}"), UNREADABLE[case]))
    assert case in message
    assert storage.exists("A/c")
    assert "A/c" not in storage.entries
    for read in (storage.read, storage.size_of, lambda key: storage.read_part(key, ReadBuffer())):
        with pytest.raises(ps.DamagedChunkError, match=case) as caught:
            read("A/c")
        assert str(storage.path) in str(caught.value)
        assert "'A/c'" in str(caught.value)
    assert storage.read("A/zarr.json") == b"{}"
    assert case in refused(storage)


def test_a_document_that_cannot_be_read_is_bad_metadata(tmp_path):
    storage, _ = warned(tmp_path, build(Entry("zarr.json", mode=LINK), root=False))
    with pytest.raises(ps.InvalidMetadataError, match="is a link"):
        storage.read("zarr.json")


def test_an_entry_that_can_be_read_takes_the_place_of_one_that_cannot(tmp_path):
    storage, _ = warned(tmp_path, build(Entry("c", mode=LINK), Entry("c", b"good")))
    assert storage.read("c") == b"good"
    storage, _ = warned(tmp_path, build(Entry("c", b"good"), Entry("c", mode=LINK)))
    with pytest.raises(ps.DamagedChunkError):
        storage.read("c")


# --- bytes that are not what they should be -------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        Entry("c/0", crc=1),
        Entry("c/0", bytes(5000), DEFLATED, crc=1),
        Entry("c/0", bytes(5000), DEFLATED, size=4000),
        Entry("c/0", bytes(5000), DEFLATED, size=6000),
        Entry("c/0", bytes(5000), DEFLATED, compressed=5),
    ],
)
def test_damage_is_noticed_where_an_entry_is_unpacked(tmp_path, entry):
    storage = opened(tmp_path, build(entry, Entry("after")))
    with pytest.raises(ps.DamagedChunkError, match="'c/0'"):
        for _ in storage.pieces("c/0", 100):
            pass
    with pytest.raises(ps.DamagedChunkError):
        storage.read("c/0")
    assert storage.read("after") == b"content"


def test_deflated_bytes_that_are_none_are_damage(tmp_path):
    data = bytearray(build(Entry("c/0", bytes(5000), DEFLATED)))
    at = data.index(b"c/0") + 3
    data[at : at + 4] = b"\xff" * 4
    storage = opened(tmp_path, bytes(data))
    for read in (storage.read, lambda key: storage.read_part(key, ReadBuffer(), 0, 10)):
        with pytest.raises(ps.DamagedChunkError, match="inflated"):
            read("c/0")


def test_an_entry_never_inflates_beyond_its_size(tmp_path):
    bomb = bytes(20 * 2**20)
    storage = opened(tmp_path, build(Entry("c/0", bomb, DEFLATED, size=100)))
    pieces = []
    with pytest.raises(ps.DamagedChunkError, match="more than the 100 bytes"):
        pieces.extend(len(piece) for piece in storage.pieces("c/0", 100))
    assert sum(pieces) <= 100


def test_a_document_of_absurd_size_is_not_inflated(tmp_path):
    from platestore.storage.documents import MAX_DOCUMENT_BYTES

    document = b" " * (MAX_DOCUMENT_BYTES + 1)
    storage = opened(tmp_path, build(Entry("A/zarr.json", document, DEFLATED)))
    with pytest.raises(ps.InvalidMetadataError, match="no document needs"):
        storage.read("A/zarr.json")


def test_entries_that_overlap_are_not_unpacked(tmp_path):
    once = build(Entry("A/c", b"x" * 100))
    first = once.index(b"PK\3\4", 4)
    for offset in (first, first + 60):
        storage = opened(tmp_path, build(Entry("A/c", b"x" * 100), Entry("B/c", b"y" * 100, offset=offset)))
        assert storage.read("A/c") == b"x" * 100
        assert "overlap" in refused(storage)
        with pytest.raises(ps.DamagedChunkError):
            storage.read("B/c")


def test_a_header_that_names_another_entry_is_damage(tmp_path):
    data = build(Entry("A/c"))
    at = data.index(b"A/c")
    storage = opened(tmp_path, data[:at] + b"B/c" + data[at + 3 :])
    with pytest.raises(ps.DamagedChunkError, match="another entry"):
        storage.read("A/c")


def test_what_would_become_far_larger_is_not_unpacked(tmp_path, monkeypatch):
    # 20 entries of 100 MB in 2 MB: what the numbers say is enough.
    entries = [Entry(f"c/{n}", bytes(100_000), DEFLATED, size=100_000) for n in range(20)]
    data = build(*entries)
    storage = opened(tmp_path, data)
    storage.check_unpackable()
    monkeypatch.setattr(ozx, "_BOMB_BYTES", 1_000_000)
    with pytest.raises(ps.InvalidMetadataError, match=r"would become 1\.9 MiB, and has .* KiB"):
        storage.check_unpackable()
    monkeypatch.setattr(ozx, "_BOMB_RATIO", 2_000_000 // len(data) + 2)
    storage.check_unpackable()


def test_a_bomb_of_gigabytes_is_refused_by_its_numbers(tmp_path):
    noise = b"".join(zlib.crc32(bytes([n % 256, n // 256])).to_bytes(4, "little") for n in range(2**16))
    storage = opened(tmp_path, build(*(Entry(f"c/{n}", noise, DEFLATED, size=2**27) for n in range(10))))
    with pytest.raises(ps.InvalidMetadataError, match=r"would become 1\.3 GiB, and has 2\.\d MiB"):
        storage.check_unpackable()


# --- no archive at all ----------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\5\6", b"{}", b"\0" * 10_000, b"PK\3\4" + bytes(5000)])
def test_what_is_no_archive_is_refused(tmp_path, data):
    with pytest.raises(ps.InvalidMetadataError, match="cut off, or no zip archive") as caught:
        opened(tmp_path, data)
    assert "x.ozx" in str(caught.value)


def test_an_archive_that_is_cut_off_anywhere_is_refused(tmp_path):
    data = zipped({**dict([ROOT]), "A/zarr.json": b"{}", "A/c/0": b"content"})
    for size in range(len(data)):
        with pytest.raises(ps.InvalidMetadataError, match=r"cut off"):
            opened(tmp_path, data[:size])


def test_an_archive_that_misses_its_middle_is_refused(tmp_path):
    data = zipped({**dict([ROOT]), "A/c/0": b"content" * 50})
    with pytest.raises(ps.InvalidMetadataError, match="cut off"):
        opened(tmp_path, data[:100] + data[200:])


@pytest.mark.parametrize("at", [4, 6])
def test_a_part_of_an_archive_in_several_files_is_refused(tmp_path, at):
    data = bytearray(build())
    data[len(data) - 22 + 4] = 3
    with pytest.raises(ps.InvalidMetadataError, match="several files"):
        opened(tmp_path, bytes(data))


def test_every_flipped_byte_is_harmless(tmp_path):
    data = build(Entry("A/zarr.json", b"{}"), Entry("A/c/0", bytes(300), DEFLATED), comment=b"{}")
    good = {"zarr.json": ROOT[1], "A/zarr.json": b"{}", "A/c/0": bytes(300)}
    for at in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            broken = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            with warnings.catch_warnings(), contextlib.suppress(ps.PlatestoreError):
                warnings.simplefilter("ignore", ps.StoreWarning)
                storage = opened(tmp_path, broken)
                for key in storage.keys(""):
                    found = storage.read(key)
                    assert key not in good or found == good[key]
                storage.check_unpackable()


# --- no store in it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (["plate.zarr/zarr.json", "plate.zarr/A/zarr.json"], "the folder 'plate.zarr' wraps it all"),
        ([".zgroup", ".zattrs"], "zarr v2"),
        ([".zarray", "0.0"], "zarr v2"),
        (["A/zarr.json", "B/zarr.json"], "the content of the store"),
        (["README.txt"], "the content of the store"),
        ([], "the content of the store"),
    ],
)
def test_an_archive_without_a_root_says_what_is_wrong(tmp_path, names, hint):
    data = build(*(Entry(name, b"{}") for name in names), root=False)
    with pytest.raises(ps.InvalidMetadataError, match=r"no zarr\.json at its root") as caught:
        opened(tmp_path, data)
    assert hint in str(caught.value)
