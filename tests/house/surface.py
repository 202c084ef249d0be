"""What users meet, as text: public names with their signatures, the command's help, the codes of findings."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

#: The modules whose public names are a contract.
MODULES = (
    "platestore",
    "platestore.multiscales",
    "platestore.stacks",
    "platestore.xarray",
    "platestore.errors",
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def api() -> str:
    """Every public name of the public modules, its signature, and those of its public methods."""
    return "\n".join(line for name in MODULES for line in _module(name)) + "\n"


def _module(name: str) -> Iterator[str]:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None) or [
        key for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == name
    ]
    for key in sorted(public):
        value = getattr(module, key)
        if hasattr(
            value, "model_rebuild"
        ):  # pydantic builds models, and their signatures, when they are used
            value.model_rebuild()
        yield f"{name}.{key}{_signature(value)}"
        if inspect.isclass(value) and value.__module__.startswith("platestore"):
            yield from _members(f"{name}.{key}", value)


def _members(name: str, kind: type[Any]) -> Iterator[str]:
    for key in sorted(dir(kind)):
        owner = next((base for base in kind.__mro__ if key in vars(base)), None)
        if key.startswith("_") or owner is None or not owner.__module__.startswith("platestore"):
            continue
        member = inspect.getattr_static(kind, key)
        if isinstance(member, (staticmethod, classmethod)):
            member = member.__func__
        if inspect.isroutine(member):
            yield f"{name}.{key}{_signature(member)}"
        else:
            yield f"{name}.{key}"


def _signature(value: Any) -> str:
    if not callable(value):
        return ""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return "(…)"
    # Annotations may change without a change for callers; names, kinds and defaults may not.
    plain = inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])
    return _ADDRESS.sub("", str(plain))


def command_line() -> str:
    """Every command with its arguments and options: their spellings, values, defaults and help."""
    from platestore.cli import cli

    context = click.Context(cli, info_name="platestore")
    lines = [f"platestore: {cli.help}", *map(_parameter, cli.params)]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        lines += ["", f"platestore {name}: {command.help}", *map(_parameter, command.params)]
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()) + "\n"


def _parameter(parameter: click.Parameter) -> str:
    spelling = "/".join([*parameter.opts, *parameter.secondary_opts])
    values = ", ".join(map(str, getattr(parameter.type, "choices", ()))) or parameter.type.name
    repeated = " (repeated)" if getattr(parameter, "multiple", False) else ""
    text = getattr(parameter, "help", None) or ""
    return f"  {spelling} [{values}]{repeated}: {text}"


def codes() -> str:
    """The codes of findings, as the pages on ``validate`` and ``check`` list them."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    lines = []
    for page in ("validate.md", "check.md"):
        for row in (docs / page).read_text().splitlines():
            if re.match(r"\| `[a-z]", row):
                lines += [
                    f"{page} {code}" for code in re.findall(r"`([a-z]+(?:-[a-z]+)*)`", row.split("|")[1])
                ]
    return "\n".join(sorted(set(lines))) + "\n"
