"""The answer of a validation or a check: a verdict, and every finding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from platestore.spec.findings import Finding
from platestore.spec.values import Json

# What tells members apart in a message: paths and names in quotes, and numbers.
_NAMED = re.compile(r"'[^']*'|\S*/\S*|\d+(?:\.\d+)?")
_ORDER = {"error": 0, "warning": 1, "advice": 2}


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What was found out about one or several paths.

    Attributes
    ----------
    valid : bool
        Whether there is no error.
    message : str
        The verdict in one line.
    findings : tuple of Finding
        Everything found, in the order of the store.
    paths : tuple of str
        What was looked at.
    """

    valid: bool
    message: str
    findings: tuple[Finding, ...] = field(repr=False)
    paths: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.valid

    @property
    def errors(self) -> list[Finding]:
        """The findings that make it invalid."""
        return self.of("error")

    def of(self, level: str) -> list[Finding]:
        """The findings of one level.

        Examples
        --------
        >>> open("plate.zarr/B/2/zarr.json", "w").close()  # the document of a well is lost
        >>> [finding.code for finding in ps.validate("plate.zarr").of("error")]
        ['json-malformed']
        """
        return [f for f in self.findings if f.level == level]

    def to_json(self) -> Json:
        """The report as one JSON object."""
        return {
            "valid": self.valid,
            "message": self.message,
            "paths": list(self.paths),
            "findings": [f.to_json() for f in self.findings],
        }


def counted(findings: Sequence[Finding]) -> str:
    """How many findings of each level there are, in words."""
    words = []
    for level in _ORDER:
        number = sum(f.level == level for f in findings)
        if number:
            plural = level if number == 1 or level == "advice" else f"{level}s"
            words.append(f"{number} {plural}")
    return ", ".join(words) or "nothing found"


def promoted(findings: Iterable[Finding], *, pedantic: bool) -> tuple[Finding, ...]:
    """The findings; with ``pedantic``, warnings are errors."""
    if not pedantic:
        return tuple(findings)
    return tuple(replace(f, level="error") if f.level == "warning" else f for f in findings)


def told(
    findings: Sequence[Finding], *, alike: Callable[[Finding], Hashable] | None = None, most: int = 1
) -> Iterator[str]:
    """Findings as lines for people; of what is alike, some are told, with how many more there are.

    Parameters
    ----------
    findings : sequence of Finding
        In the order of the store.
    alike : callable, optional
        What findings that are alike have in common; all that they say, by default.
    most : int
        How many of them are told.
    """
    key = alike or _same
    total = Counter(key(finding) for finding in findings)
    shown: Counter[Hashable] = Counter()
    file = None
    for finding in findings:
        kind = key(finding)
        shown[kind] += 1
        if shown[kind] > most:
            continue
        if finding.file != file:
            file = finding.file
            yield f"{file}:"
        yield from (f"  {line}" for line in rendered(finding))
        more = total[kind] - most
        if shown[kind] == most and more > 0:
            yield f"           ... and the same in {more} more {'place' if more == 1 else 'places'}"


def _same(finding: Finding) -> Hashable:
    facts = (finding.message, finding.expected, finding.found)
    return (finding.code, finding.level, finding.location, *facts)


def of_a_kind(finding: Finding) -> Hashable:
    """What findings have in common that say the same of different members: names and numbers aside."""
    return (finding.code, finding.level, _NAMED.sub("", finding.message), _NAMED.sub("", finding.location))


def rendered(finding: Finding) -> list[str]:
    """A finding as lines for people."""
    lines = [f"{finding.level:<7}  {finding}"]
    facts = (("expected", finding.expected), ("found", finding.found), ("rule", finding.rule))
    lines += [f"         {name}: {text}" for name, text in facts if text]
    tips = (("repair", finding.repair), ("hint", finding.hint))
    lines += [f"         {name}: {text}" for name, text in tips if text]
    return lines
