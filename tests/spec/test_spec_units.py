"""Units: the specification's names, and what people write instead."""

from __future__ import annotations

import pytest

from platestore.errors import ArgumentError
from platestore.spec.units import SPACE_UNITS, TIME_UNITS, known_unit, normalise_unit, type_of_unit


@pytest.mark.parametrize("unit", sorted(SPACE_UNITS | TIME_UNITS))
def test_names_of_the_specification_are_kept(unit):
    assert normalise_unit(unit) == unit
    assert normalise_unit(unit.upper()) == unit
    assert normalise_unit(f" {unit} ") == unit


def test_there_are_as_many_as_the_specification_lists():
    assert len(SPACE_UNITS) == 26
    assert len(TIME_UNITS) == 23


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("um", "micrometer"),
        ("µm", "micrometer"),
        ("μm", "micrometer"),
        ("micron", "micrometer"),
        ("Microns", "micrometer"),
        ("micrometre", "micrometer"),
        ("micrometers", "micrometer"),
        ("nm", "nanometer"),
        ("mm", "millimeter"),
        ("Mm", "megameter"),
        ("m", "meter"),
        ("Å", "angstrom"),
        ("angstroms", "angstrom"),
        ("in", "inch"),
        ("inches", "inch"),
        ("feet", "foot"),
        ("s", "second"),
        ("sec", "second"),
        ("secs", "second"),
        ("ms", "millisecond"),
        ("us", "microsecond"),
        ("min", "minute"),
        ("mins", "minute"),
        ("h", "hour"),
        ("hr", "hour"),
        ("hours", "hour"),
        ("days", "day"),
    ],
)
def test_common_spellings(written, unit):
    assert normalise_unit(written) == unit


@pytest.mark.parametrize("unit", ["parrot", "px", "pixel", "um/s", "", "S", "kg", "MM"])
def test_others_are_errors_that_say_what_to_do(unit):
    with pytest.raises(ValueError, match="is no unit of length or time") as caught:
        normalise_unit(unit)
    assert isinstance(caught.value, ArgumentError)
    assert "micrometer" in str(caught.value)


def test_a_misspelt_unit_gets_a_suggestion():
    with pytest.raises(ArgumentError, match="'micrometer'"):
        normalise_unit("mikrometer")


def test_what_is_no_string_is_no_unit():
    with pytest.raises(ArgumentError, match="must be a string"):
        normalise_unit(3)
    assert known_unit(None) is None


def test_types():
    assert type_of_unit("um") == "space"
    assert type_of_unit("ms") == "time"
    assert type_of_unit("kg") is None
    assert type_of_unit(None) is None
