"""The base of all models, and how a document from elsewhere is read: strictly, then leniently."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from platestore.errors import InvalidMetadataError
from platestore.spec.findings import Finding
from platestore.spec.values import Json

M = TypeVar("M", bound="Model")

#: ``model_dump(**TO_DICT_SETTINGS)`` gives the JSON object of a model, as ``to_json()`` does.
TO_DICT_SETTINGS: dict[str, bool] = {"exclude_none": True, "by_alias": True}
#: The validation context of what a store says: it stays as it is, where what a user gives is normalised.
AS_STORED = {"stored": True}


class Model(BaseModel):
    """Base of the metadata models: fields in snake_case, keys of others kept.

    Unknown keys survive a read and a write (``extra="allow"``); ``None`` means "not in the document".
    """

    model_config = ConfigDict(
        extra="allow",
        populate_by_name=True,
        validate_assignment=True,
        defer_build=True,
        ser_json_inf_nan="constants",  # writing them is refused; they are not made null
    )

    def to_json(self) -> Json:
        """The JSON object of this model, with the specification's names; what is None is left out."""
        return self.model_dump(mode="json", by_alias=True)

    def findings(self) -> Iterable[Finding]:
        """Every rule beyond types that this model breaks; none by default."""
        return ()


#: Config of models whose strings are for people: a number there is read leniently (but not in a path).
LENIENT_TEXT = ConfigDict(coerce_numbers_to_str=True)


class OptionalModel(Model):
    """Base of the models that have optional fields: None is left out of the JSON, nulls of others stay."""

    @model_serializer(mode="wrap")
    def _without_none(self, serialise: SerializerFunctionWrapHandler) -> Json:
        others = self.model_extra or {}
        return {key: value for key, value in serialise(self).items() if value is not None or key in others}


def read_model(cls: type[M], data: object, *, location: str, path: str) -> tuple[M, list[Finding]]:
    """Read a model from parsed JSON: strictly if it is right, leniently with findings if it is usable.

    Parameters
    ----------
    cls : type
        The model class.
    data : object
        Parsed JSON.
    location : str
        Name of the document's part, the start of each finding's location.
    path : str
        Path of the document, for the error.

    Returns
    -------
    model : Model
        The parsed model.
    findings : list of Finding
        The flaws that were read over; empty for a correct document.

    Raises
    ------
    InvalidMetadataError
        If not even a lenient reading makes sense of it.
    """
    findings: list[Finding] = []
    try:
        model = cls.model_validate(data, strict=True, context=AS_STORED)
    except ValidationError as strict_error:
        try:
            model = cls.model_validate(data, context=AS_STORED)
        except ValidationError as error:
            raise InvalidMetadataError(
                f"the metadata cannot be read: {_describe(error, location)}",
                path=path,
                hint="correct the named fields, or restore the document from a backup",
            ) from None
        findings.extend(
            Finding("wrong-type", _join(location, e["loc"]), e["msg"]) for e in strict_error.errors()
        )
    findings.extend(model.findings())
    return model, findings


def _describe(error: ValidationError, location: str) -> str:
    problems = [f"{_join(location, e['loc'])}: {e['msg']}" for e in error.errors()]
    shown = "; ".join(problems[:5])
    return shown if len(problems) <= 5 else f"{shown}; and {len(problems) - 5} more"


def _join(location: str, parts: Iterable[int | str]) -> str:
    out = location
    for part in parts:
        out += f"[{part}]" if isinstance(part, int) else f".{part}"
    return out


def merge_three(base: Any, mine: Any, theirs: Any) -> Any:
    """Apply what changed from ``base`` to ``mine`` onto ``theirs``, key by key.

    It lets a model that was edited by hand be saved without undoing what another writer added
    meanwhile. Lists of objects with an identity (``path``, ``name``, ``id`` or ``label``) merge by it.
    Where both sides changed the same value, mine wins.
    """
    if mine == base:
        return theirs
    if theirs == base:
        return mine
    if isinstance(base, Mapping) and isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return _merge_mappings(base, mine, theirs)
    if isinstance(base, list) and isinstance(mine, list) and isinstance(theirs, list):
        for key in ("path", "name", "id", "label"):
            keyed = [_by_identity(items, key) for items in (base, mine, theirs)]
            if all(items is not None for items in keyed):
                return list(_merge_mappings(*keyed).values())  # type: ignore[arg-type]
    return mine


_MISSING = object()


def _merge_mappings(
    base: Mapping[Any, Any], mine: Mapping[Any, Any], theirs: Mapping[Any, Any]
) -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    for key in [*theirs, *(k for k in mine if k not in theirs)]:
        b, m, t = base.get(key, _MISSING), mine.get(key, _MISSING), theirs.get(key, _MISSING)
        value = merge_three(b, m, t)
        if value is not _MISSING:
            merged[key] = value
    return merged


def _by_identity(items: list[Any], key: str) -> dict[Any, Any] | None:
    if not all(isinstance(item, Mapping) and isinstance(item.get(key), (str, int)) for item in items):
        return None
    keyed = {item[key]: item for item in items}
    return keyed if len(keyed) == len(items) else None
