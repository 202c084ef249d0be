"""What is wrong with a document or a store: one finding for each flaw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "advice"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw: a rule of the specification that is broken, or something that is not whole.

    Attributes
    ----------
    code : str
        Stable short name of the rule.
    location : str
        Where in the document, for instance ``plate.wells[3].path``.
    message : str
        What was found there, and what should be.
    level : {"error", "warning", "advice"}
        An error makes a store invalid, or means that data is damaged or missing; a warning is a rule that
        readers get over, or something left behind; advice is a recommendation.
    file : str
        The document, chunk or directory; empty where the reader of the finding knows it.
    expected, found : str, optional
        What should be there, and what is.
    rule : str, optional
        What the specification says, and where.
    hint : str, optional
        What the user can do.
    repair : str, optional
        What a repair does about it; None where it can do nothing.
    """

    code: str
    location: str
    message: str
    level: Level = "error"
    file: str = ""
    expected: str | None = None
    found: str | None = None
    rule: str | None = None
    hint: str | None = None
    repair: str | None = None

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        return f"{where}{self.message} [{self.code}]"

    def to_json(self) -> dict[str, str]:
        """The finding as a JSON object; what it does not have is left out."""
        pairs = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in pairs if value}
