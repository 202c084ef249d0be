"""Whether the wells of a plate fit its acquisitions and numbers of fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from platestore.checking.hierarchy.documents import shown
from platestore.spec.findings import Finding
from platestore.spec.values import Json, whole


class Fields:
    """What a plate's document says of fields and acquisitions, and what its wells have.

    Parameters
    ----------
    plate : JSON value
        The ``plate`` object.
    version : str
        OME-NGFF version.
    """

    def __init__(self, plate: Any, version: str) -> None:
        self.version = version
        self._most: int | None = whole(plate.get("field_count")) if isinstance(plate, dict) else None
        listed = plate.get("acquisitions") if isinstance(plate, dict) else None
        #: Acquisitions by their ids: where they are listed, and the most fields in a well.
        self._acquisitions: dict[int, tuple[int, int | None]] = {}
        for i, item in entries(listed):
            number = whole(item.get("id"))
            if number is not None:
                self._acquisitions.setdefault(number, (i, whole(item.get("maximumfieldcount"))))
        self._ids = f"one of {shown(', '.join(map(str, self._acquisitions)))}"
        self._used: set[int] = set()

    def well(self, images: Any, location: str, file: str) -> Iterator[Finding]:
        """Findings of one well.

        Parameters
        ----------
        images : JSON value
            The ``images`` of the well.
        location : str
            Where they are.
        file : str
            The well's document.
        """
        counts: Counter[int] = Counter()
        rule = f"OME-NGFF {self.version}, well: "
        several = len(self._acquisitions) > 1
        fields = list(entries(images))
        for i, image in fields:
            found = whole(image.get("acquisition"))
            if image.get("acquisition") is None and several:
                yield Finding(
                    "acquisition-missing",
                    f"{location}[{i}]",
                    "the plate has several acquisitions, and the field does not say which one it is of",
                    file=file,
                    expected=self._ids,
                    rule=rule + "where a plate has several acquisitions, each field names its own (MUST)",
                )
            if found is None:
                continue
            counts[found] += 1
            self._used.add(found)
            if self._acquisitions and found not in self._acquisitions:
                yield Finding(
                    "acquisition-unknown",
                    f"{location}[{i}].acquisition",
                    f"the plate has no acquisition {shown(found)}",
                    "error" if several else "warning",
                    file,
                    self._ids,
                    shown(found),
                    rule + "an acquisition is the id of one that the plate lists (MUST)",
                    "list it in the plate's 'acquisitions'",
                )
        yield from self._too_many(counts, len(fields), location, file)

    def _too_many(self, counts: Counter[int], fields: int, location: str, file: str) -> Iterator[Finding]:
        rule = f"OME-NGFF {self.version}, plate: "
        for number, count in counts.items():
            most = self._acquisitions.get(number, (0, None))[1]
            if most is not None and count > most:
                yield Finding(
                    "acquisition-fields",
                    location,
                    f"has {count} fields of acquisition {number}, for which the plate says {most}",
                    "warning",
                    file,
                    f"at most {most}",
                    str(count),
                    rule + "'maximumfieldcount' is the largest number of fields in a well",
                )
        if self._most is not None and fields > self._most:
            yield Finding(
                "field-count-exceeded",
                location,
                f"has {fields} fields, and the plate says {self._most}",
                "warning",
                file,
                f"at most {self._most}",
                str(fields),
                rule + "'field_count' is the largest number of fields in a well",
                "`plate.dump_meta(field_count=True)` counts them",
            )

    def unused(self, location: str, file: str) -> Iterator[Finding]:
        """Acquisitions that no field is of; to be asked when all wells were looked at.

        Parameters
        ----------
        location : str
            Where the ``plate`` object is.
        file : str
            The plate's document.
        """
        for number, (i, _) in self._acquisitions.items():
            # With a single acquisition, fields need not name it.
            if len(self._acquisitions) > 1 and number not in self._used:
                text = f"no field is of acquisition {number}"
                yield Finding("acquisition-unused", f"{location}.acquisitions[{i}]", text, "advice", file)


def entries(value: Any) -> Iterator[tuple[int, Json]]:
    """The objects in a list, with their places; nothing if it is no list."""
    for i, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict):
            yield i, item
