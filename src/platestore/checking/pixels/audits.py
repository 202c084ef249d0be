"""What an audit of chunks found out."""

from __future__ import annotations

from dataclasses import dataclass, field

from platestore.spec.findings import Finding


@dataclass(frozen=True, slots=True)
class ArrayAudit:
    """What was found out about the chunks of one array.

    Attributes
    ----------
    path : str
        Path of the array in its store.
    findings : list of Finding
        What is wrong; ``file`` is a path in the store.
    files : int
        Number of files that hold chunks.
    nbytes_stored : int
        Their bytes.
    nbytes_decoded : int
        Bytes of the chunks that were decoded; none in a shallow audit, as a rule.
    missing : int
        Number of chunks that are not there; they read as the fill value.
    leftovers : list of str
        Temporary files and locks that were met, as paths in the store.
    """

    path: str
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    nbytes_stored: int = 0
    nbytes_decoded: int = 0
    missing: int = 0
    leftovers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ImageAudit:
    """What was found out about the chunks of all levels of one image.

    Attributes
    ----------
    findings : list of Finding
        What is wrong; ``file`` is a path in the store.
    files : int
        Number of files that hold chunks.
    nbytes_stored : int
        Their bytes.
    nbytes_decoded : int
        Bytes of the chunks that were decoded; none in a shallow audit, as a rule.
    missing : dict of str to int
        Number of chunks that are not there, by the path of the level as the image names it.
    leftovers : list of str
        Temporary files and locks that were met, as paths in the store.
    """

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    nbytes_stored: int = 0
    nbytes_decoded: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)
