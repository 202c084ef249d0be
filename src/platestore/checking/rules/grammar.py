"""What JSON may look like: objects, lists and strict scalars, and the findings about what does not.

A shape is a value that describes others, built once per version of the specification. It goes only as deep
as it is itself, so no document is too deep for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol

from platestore.spec.findings import Finding, Level
from platestore.spec.values import shown
from platestore.spec.versions import Adapter

#: How many findings of one code are kept of a document; the last one says how many more there were.
LIMIT = 1000

Need = Literal["must", "prose", "strict", "should", "may"]
_WORDS: dict[Need, str] = {"must": "MUST", "prose": "MUST", "strict": "SHOULD", "should": "SHOULD"}


class Collector:
    """Takes the findings of one document.

    Parameters
    ----------
    ngff : Adapter
        Version of OME-NGFF whose rules apply; it is put before the rule of each finding.
    strict : bool
        Whether what the strict schemas ask for is required.
    """

    def __init__(self, ngff: Adapter, *, strict: bool) -> None:
        self.ngff = ngff
        self.strict = strict
        self._findings: list[Finding] = []
        self._counts: dict[tuple[str, Level], int] = {}

    def add(self, finding: Finding) -> None:
        """Keep a finding, unless there are very many of its kind."""
        kind = finding.code, finding.level
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count <= LIMIT:
            if finding.rule and not finding.rule.startswith("RFC-"):
                finding = replace(finding, rule=f"OME-NGFF {self.ngff.name}, {finding.rule}")
            self._findings.append(finding)

    def extend(self, findings: Iterable[Finding]) -> None:
        """Keep several findings."""
        for finding in findings:
            self.add(finding)

    def result(self) -> list[Finding]:
        """What was kept, and how many more there were."""
        rest = [
            Finding(code, "", f"{count - LIMIT} more of this kind are not listed", level)
            for (code, level), count in self._counts.items()
            if count > LIMIT
        ]
        return [*self._findings, *rest]


class Shape(Protocol):
    """What a JSON value may be."""

    @property
    def words(self) -> str:
        """The shape in words, with an article: ``a string``."""

    @property
    def many(self) -> str:
        """Several of it in words: ``strings``."""

    def judge(self, value: Any, where: str, out: Collector, rule: str, level: Level) -> None:
        """Add what is wrong with a value.

        Parameters
        ----------
        value : object
            Parsed JSON.
        where : str
            Its location.
        out : Collector
            Takes the findings.
        rule : str
            What the specification says about its type.
        level : {"error", "warning", "advice"}
            Level of a wrong type.
        """


def wrong_type(value: Any, expected: str, where: str, rule: str, level: Level) -> Finding:
    """The finding about a value of a wrong type."""
    found = shown(value)
    message = f"is {found}, not {expected}"
    return Finding("wrong-type", where, message, level, expected=expected, found=found, rule=rule)


class Text:
    """A string.

    Parameters
    ----------
    among : tuple of str
        The strings that are allowed; any if there is none.
    code : str
        Code of the finding about another string.
    """

    words = "a string"
    many = "strings"

    def __init__(self, among: tuple[str, ...] = (), code: str = "wrong-value") -> None:
        self.among = among
        self.code = code

    def judge(self, value: Any, where: str, out: Collector, rule: str, level: Level) -> None:
        """See :class:`Shape`."""
        if not isinstance(value, str):
            out.add(wrong_type(value, self.words, where, rule, level))
        elif self.among and value not in self.among:
            expected, found = " or ".join(map(shown, self.among)), shown(value)
            message = f"is {found}; {expected} is required"
            out.add(Finding(self.code, where, message, level, expected=expected, found=found, rule=rule))


class Number:
    """A finite number, or an integer: ``1.0`` is one, true is none, as in JSON schema."""

    def __init__(self, *, whole: bool = False) -> None:
        self.whole = whole
        self.words, self.many = ("an integer", "integers") if whole else ("a number", "numbers")

    def judge(self, value: Any, where: str, out: Collector, rule: str, level: Level) -> None:
        """See :class:`Shape`."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            out.add(wrong_type(value, self.words, where, rule, level))
        elif isinstance(value, float) and not math.isfinite(value):
            message = f"is {shown(value)}, which JSON cannot say"
            out.add(Finding("not-finite", where, message, expected=self.words, found=shown(value)))
        elif self.whole and value != int(value):
            out.add(wrong_type(value, self.words, where, rule, level))


class Flag:
    """True or false."""

    words = "true or false"
    many = "booleans"

    def judge(self, value: Any, where: str, out: Collector, rule: str, level: Level) -> None:
        """See :class:`Shape`."""
        if not isinstance(value, bool):
            out.add(wrong_type(value, self.words, where, rule, level))


class Listing:
    """A list whose entries all have one shape."""

    many = "lists"

    def __init__(self, item: Shape) -> None:
        self.item = item
        self.words = f"a list of {item.many}"

    def judge(self, value: Any, where: str, out: Collector, rule: str, level: Level) -> None:
        """See :class:`Shape`."""
        if not isinstance(value, list):
            out.add(wrong_type(value, self.words, where, rule, level))
            return
        for i, item in enumerate(value):
            self.item.judge(item, f"{where}[{i}]", out, rule, level)


class Key:
    """One key of an object.

    Parameters
    ----------
    shape : Shape
        Its value.
    need : {"must", "prose", "strict", "should", "may"}
        Whether the key has to be there: by the schema; by the text, while the schema does without; by the
        strict schema, and recommended otherwise; recommended; not at all.
    typed : {"error", "warning"}
        Level of a value of a wrong type: a warning where the schema allows any.
    """

    def __init__(self, shape: Shape, need: Need = "may", *, typed: Level = "error") -> None:
        self.shape = shape
        self.need = need
        self.typed = typed


class ObjectRule:
    """An object; keys that are not described may hold anything.

    Parameters
    ----------
    section : str
        Section of the specification.
    name : str
        What it is, with an article.
    keys : mapping of str to Key
        The keys that the specification knows.
    """

    words = "an object"
    many = "objects"

    def __init__(self, section: str, name: str, keys: Mapping[str, Key]) -> None:
        self.section = section
        self.name = name
        self._keys = [
            (key, item, f"{section}: {key!r} of {name} is {item.shape.words}") for key, item in keys.items()
        ]

    def judge(self, value: Any, where: str, out: Collector, rule: str, level: Level) -> None:
        """See :class:`Shape`."""
        if not isinstance(value, dict):
            out.add(wrong_type(value, self.words, where, rule, level))
            return
        for key, item, says in self._keys:
            if key in value:
                item.shape.judge(value[key], f"{where}.{key}", out, says, item.typed)
            elif item.need != "may":
                out.add(self._missing(key, item.need, where, strict=out.strict))

    def _missing(self, key: str, need: Need, where: str, *, strict: bool) -> Finding:
        rule = f"{self.section}: {self.name} has {key!r} ({_WORDS[need]})"
        if need in ("must", "prose"):
            level: Level = "error" if need == "must" else "warning"
            return Finding("key-missing", where, f"has no {key!r}", level, expected=key, rule=rule)
        level = "error" if need == "strict" and strict else "advice"
        wanted = "which is required in a strict document" if level == "error" else "which is recommended"
        return Finding("key-recommended", where, f"has no {key!r}, {wanted}", level, expected=key, rule=rule)
