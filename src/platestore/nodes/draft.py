"""What a change of a document may edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from platestore.spec.base import Model
from platestore.spec.own import Intent, OwnMeta

M = TypeVar("M", bound=Model)


@dataclass(slots=True)
class Draft(Generic[M]):
    """What a change may edit: the models of one document.

    Attributes
    ----------
    meta : Model
        The specification's part.
    own : OwnMeta
        platestore's namespace.
    """

    meta: M
    own: OwnMeta

    def add_intent(self, intent: Intent) -> None:
        """Record a change that needs more files."""
        self.own.intents = [*(self.own.intents or []), intent]

    def drop_intent(self, identifier: str) -> None:
        """Take away the record of a change that is complete."""
        left = [i for i in self.own.intents or [] if i.id != identifier]
        self.own.intents = left or None
