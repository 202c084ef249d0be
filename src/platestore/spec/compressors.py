"""The compressors of chunks that both versions of zarr have: how each is named and set, in one object.

What encodes and decodes is in ``arrays/coders.py``, under the same names. Whoever asks how a compressor is
named, completed or converted asks its object here, and compares no names.

A compressor has settings. They are complete in three ways, which differ since different programs are asked:
what a lenient reader takes where one is missing in v3, what this library writes in v3 (as zarr-python has it
by default), and what zarr v2 takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

Settings = dict[str, Any]


class NoFormError(Exception):
    """Something of an array has no equal in the other version of zarr; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One name that ``compressor=`` takes.

    Attributes
    ----------
    least, greatest, default : int
        Its levels.
    """

    least: int
    greatest: int
    default: int


class KnownCompressor:
    """A compressor that is set by a level.

    Attributes
    ----------
    name : str
        Its name in ``zarr.json``, and in ``.zarray``.
    choices : dict
        The names that users give it, with their levels.
    read, written, in_v2 : dict
        The settings where none are given: as a lenient reader takes them, as they are written, and in v2.
    """

    name: str
    choices: ClassVar[Mapping[str, Choice]]
    read: ClassVar[Mapping[str, Any]]
    written: ClassVar[Mapping[str, Any]]
    in_v2: ClassVar[Mapping[str, Any]]
    levels = (0, 9)

    # --- names of users ---------------------------------------------------------------------------

    def settings(self, choice: str, level: int) -> Settings:
        """The settings in v3, but for what depends on the array."""
        return {**self.written, "level": level}

    def v2(self, choice: str, level: int) -> Settings:
        """The JSON in ``.zarray``."""
        return {"id": self.name, "level": level}

    def v3(self, choice: str, level: int, itemsize: int) -> Settings:
        """The JSON in ``zarr.json``, of an array with elements of so many bytes."""
        return {"name": self.name, "configuration": self.settings(choice, level)}

    def choice_of(self, settings: Mapping[str, Any]) -> tuple[str, object] | None:
        """The name and level that mean these settings, of either version; None if no name does."""
        extras = {key for key, value in settings.items() if value} - {"level"}
        return None if extras else (self.name, settings.get("level"))

    def describe(self, settings: Mapping[str, Any]) -> str:
        """The compressor in words."""
        level = settings.get("level")
        return self.name if level is None else f"{self.name} level {level}"

    # --- documents of others ----------------------------------------------------------------------

    def read_settings(self, given: Mapping[str, Any], itemsize: int) -> tuple[Settings, list[str]]:
        """The settings as a lenient reader of v3 takes them, and the names of those that are missing."""
        return {**self.read, **given}, [key for key in self.read if key not in given]

    def completed(self, given: Mapping[str, Any], itemsize: int) -> Settings:
        """The settings of v3 with what zarr fills in when it knows the array."""
        return {**self.written, **given}

    def checked(self, given: Mapping[str, Any], itemsize: int) -> Settings:
        """The settings as v3 has them, whichever version they are from.

        Raises
        ------
        NoFormError
            If one is not known.
        ValueError
            If one is impossible.
        """
        unknown = given.keys() - self.in_v2.keys()
        if unknown:
            what = ", ".join(unknown)
            raise NoFormError(f"its compressor {self.name} has settings that are not known: {what}")
        settings = {**self.in_v2, **given}
        self._check(settings, itemsize)
        return settings

    def _check(self, settings: Settings, itemsize: int) -> None:
        self._require_integer(settings, "level", *self.levels)

    def to_v3(self, given: Mapping[str, Any], itemsize: int) -> Settings:
        """The codec of v3 for a compressor of v2."""
        return {"name": self.name, "configuration": self.checked(given, itemsize)}

    def to_v2(self, given: Mapping[str, Any], itemsize: int) -> Settings:
        """The compressor of v2 for a codec of v3."""
        return {"id": self.name, **self.checked(given, itemsize)}

    def _require_integer(self, settings: Settings, key: str, low: int, high: int) -> None:
        value = settings[key]
        if type(value) is not int or not low <= value <= high:
            raise NoFormError(
                f"its compressor {self.name} has the {key} {value!r}, which is not in {low} to {high}"
            )


class Gzip(KnownCompressor):
    """Plain gzip: slow."""

    name = "gzip"
    choices: ClassVar[Mapping[str, Choice]] = {"gzip": Choice(0, 9, 6)}
    read: ClassVar[Mapping[str, Any]] = {"level": 5}
    written: ClassVar[Mapping[str, Any]] = read
    in_v2: ClassVar[Mapping[str, Any]] = {"level": 1}
    _library_default = 6

    def _check(self, settings: Settings, itemsize: int) -> None:
        if settings["level"] == -1:
            settings["level"] = self._library_default  # that is what -1 means
        super()._check(settings, itemsize)


class Zstd(KnownCompressor):
    """Plain Zstandard."""

    name = "zstd"
    choices: ClassVar[Mapping[str, Choice]] = {"zstd": Choice(0, 22, 3)}
    read: ClassVar[Mapping[str, Any]] = {"level": 0}
    written: ClassVar[Mapping[str, Any]] = {"level": 0, "checksum": False}
    in_v2: ClassVar[Mapping[str, Any]] = written
    levels = (-131072, 22)

    def _check(self, settings: Settings, itemsize: int) -> None:
        if not isinstance(settings["checksum"], bool):
            raise ValueError(f"the setting checksum of zstd is {settings['checksum']!r}")  # noqa: TRY004
        if type(settings["level"]) is int:
            settings["level"] = min(settings["level"], self.levels[1])  # as the library does
        super()._check(settings, itemsize)

    def to_v2(self, given: Mapping[str, Any], itemsize: int) -> Settings:
        """The compressor of v2; chunks say themselves whether they end in a checksum."""
        settings = super().to_v2(given, itemsize)
        del settings["checksum"]  # TensorStore refuses compressors of v2 that have it
        return settings


class Blosc(KnownCompressor):
    """Blosc, with bitshuffle: the fastest to write and to read."""

    name = "blosc"
    choices: ClassVar[Mapping[str, Choice]] = {"blosc-lz4": Choice(0, 9, 5), "blosc-zstd": Choice(0, 9, 1)}
    read: ClassVar[Mapping[str, Any]] = {"cname": "zstd", "clevel": 5, "shuffle": "shuffle", "blocksize": 0}
    written: ClassVar[Mapping[str, Any]] = {"cname": "zstd", "clevel": 5, "shuffle": None, "blocksize": 0}
    in_v2: ClassVar[Mapping[str, Any]] = {
        "cname": "lz4",
        "clevel": 5,
        "shuffle": None,
        "blocksize": 0,
        "typesize": None,
    }
    #: The compressors in it.
    inner = ("lz4", "lz4hc", "blosclz", "zstd", "snappy", "zlib")
    #: Names of v3, at the place that is their number in v2.
    shuffles = ("noshuffle", "shuffle", "bitshuffle")
    auto_shuffle = -1

    def settings(self, choice: str, level: int) -> Settings:
        """Bitshuffle, which suits pixels."""
        cname = choice.removeprefix("blosc-")
        return {"cname": cname, "clevel": level, "shuffle": "bitshuffle", "blocksize": 0}

    def v2(self, choice: str, level: int) -> Settings:
        """The JSON in ``.zarray``, where a shuffle is a number."""
        settings = self.settings(choice, level)
        return {"id": self.name, **settings, "shuffle": self.shuffles.index(settings["shuffle"])}

    def v3(self, choice: str, level: int, itemsize: int) -> Settings:
        """The JSON in ``zarr.json``."""
        return {"name": self.name, "configuration": {**self.settings(choice, level), "typesize": itemsize}}

    def choice_of(self, settings: Mapping[str, Any]) -> tuple[str, object] | None:
        """The name and level that mean these settings: all names mean bitshuffle."""
        shuffle = settings.get("shuffle")
        if shuffle not in (self.shuffles[2], 2) or settings.get("blocksize"):
            return None
        return f"blosc-{settings.get('cname')}", settings.get("clevel")

    def describe(self, settings: Mapping[str, Any]) -> str:
        """The compressor in words."""
        shuffle = settings.get("shuffle", "")
        shuffle = {0: "", 1: "shuffle", 2: "bitshuffle", "noshuffle": ""}.get(shuffle, str(shuffle))
        words = [f"blosc-{settings.get('cname', '?')}", shuffle]
        return " ".join([*filter(None, words), f"level {settings.get('clevel', '?')}"])

    def read_settings(self, given: Mapping[str, Any], itemsize: int) -> tuple[Settings, list[str]]:
        """The settings as a lenient reader takes them; a shuffle goes by the size of the elements."""
        settings, missing = super().read_settings(given, itemsize)
        if "typesize" not in settings and settings["shuffle"] != self.shuffles[0]:
            settings["typesize"] = max(1, itemsize)
            missing.append("typesize")
        return settings, missing

    def completed(self, given: Mapping[str, Any], itemsize: int) -> Settings:
        """The settings with the size of the elements, by which the shuffle is chosen where none is given."""
        settings = {**super().completed(given, itemsize), "typesize": itemsize}
        if settings["shuffle"] is None:
            settings["shuffle"] = self._by_size(itemsize)
        return settings

    def _check(self, settings: Settings, itemsize: int) -> None:
        if settings["cname"] not in self.inner:
            raise NoFormError(f"its chunks are compressed by blosc with {settings['cname']!r}")
        settings["shuffle"] = self._shuffle(settings["shuffle"], itemsize)
        self._require_integer(settings, "clevel", *self.levels)
        self._require_integer(settings, "blocksize", 0, 2**31 - 1)
        if settings["typesize"] is not None:
            self._require_integer(settings, "typesize", 1, 255)

    def _shuffle(self, value: Any, itemsize: int) -> str:
        """The name of a shuffle, from a name, a number of v2, or None for "by the size of the elements"."""
        if value in self.shuffles:
            return str(value)
        if value is None or value == self.auto_shuffle:
            return self._by_size(itemsize)
        if type(value) is int and 0 <= value < len(self.shuffles):
            return self.shuffles[value]
        raise NoFormError(f"its compressor blosc has the shuffle {value!r}, which is not known")

    def _by_size(self, itemsize: int) -> str:
        return self.shuffles[2 if itemsize == 1 else 1]

    def to_v3(self, given: Mapping[str, Any], itemsize: int) -> Settings:
        """The codec of v3, which must state the size of the elements."""
        settings = self.checked(given, itemsize)
        settings["typesize"] = itemsize if settings["typesize"] is None else settings["typesize"]
        return {"name": self.name, "configuration": settings}

    def to_v2(self, given: Mapping[str, Any], itemsize: int) -> Settings:
        """The compressor of v2; chunks say themselves what blosc shuffled by."""
        settings = super().to_v2(given, itemsize)
        del settings["typesize"]  # TensorStore refuses compressors of v2 that have it
        return {**settings, "shuffle": self.shuffles.index(settings["shuffle"])}


BLOSC = Blosc()
#: All of them by their names, in the order in which they are offered.
KNOWN: dict[str, KnownCompressor] = {known.name: known for known in (BLOSC, Zstd(), Gzip())}
#: What ``compressor=`` says for pixels as they are.
NONE = "none"
#: What is used unless something else is asked for.
DEFAULT = "blosc-lz4"


#: The names that ``compressor=`` takes, but for :data:`NONE`, in the order in which they are offered.
CHOICES = {name: (known, choice) for known in KNOWN.values() for name, choice in known.choices.items()}


def offered(*, with_default: bool = False) -> str:
    """All names in a sentence, for help texts; the default may be marked."""
    marked = {DEFAULT: f"{DEFAULT} (the default)"} if with_default else {}
    return f"{', '.join(marked.get(name, name) for name in CHOICES)} or {NONE}"


def describe(name: str, settings: Mapping[str, Any]) -> str:
    """Any codec in words."""
    known = KNOWN.get(name)
    if known is not None:
        return known.describe(settings)
    level = settings.get("level")
    return name if level is None else f"{name} level {level}"
