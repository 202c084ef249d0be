"""Errors at the command line: they speak of options, and leave out what only a Python program can do."""

from __future__ import annotations

import re
from collections.abc import Mapping

import click

# Arguments of the library whose options have other names.
_RENAMED = {"channel_name": "channel", "spatial_unit": "unit", "map": "map_", "labels": "no_labels"}
_ARGUMENT = re.compile(
    r"""(?<![\w.-])(?P<name>[a-z][a-z_]*)=                      # overwrite=
        (?P<value>"[^"]*"|'[^']*'|\([^()]*\)|[\w.*/-]*\w)?      # True, "auto", 'w-', (1, 2), 100
        (?:\ \((?P<option>--[a-z-]+)\))?                        # (--overwrite), if it is said
    """,
    re.VERBOSE,
)
_OPTION_AFTER = re.compile(r"[^\s,;()]+\([^()]*\) \((--[a-z-]+)[^)]*\)")
# Calls, and what is written with them: plan(), del position[...], numpy.rint(data).
_PYTHON = re.compile(r"\w\(|\bdel\b|\w\[|\bpython\b", re.IGNORECASE)
_CLAUSES = re.compile(r"(; |, or |, then )")


def in_options(text: str, command: click.Command | None) -> str:
    """The text of an error or warning, as somebody at the command line needs it.

    Arguments become the options of the command (``overwrite=True`` becomes ``--overwrite``). Of the advice,
    which stands in parentheses at the end, the parts that have no option go.

    Parameters
    ----------
    text : str
        The text.
    command : click.Command, optional
        The command that failed.
    """
    params = [] if command is None else command.params
    options = {p.name: p for p in params if isinstance(p, click.Option) and p.name is not None}
    message, advice = _split(text)
    message = _translated(message, options)
    for name, option in options.items():
        if "_" in name.strip("_"):
            message = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w=])", option.opts[0], message)
    if not advice:
        return message
    said = _kept(_translated(advice, options))
    return f"{message} ({said})" if said else message


def _split(text: str) -> tuple[str, str]:
    """A text, and the advice in the parentheses at its end."""
    if not text.endswith(")"):
        return text, ""
    depth = 0
    for i in range(len(text) - 1, -1, -1):
        depth += (text[i] == ")") - (text[i] == "(")
        if depth == 0:
            return (text[: i - 1], text[i + 1 : -1]) if i and text[i - 1] == " " else (text, "")
    return text, ""


def _translated(text: str, options: Mapping[str, click.Option]) -> str:
    """A text with options for the arguments that have one."""

    def option(match: re.Match[str]) -> str:
        name, value = match["name"], (match["value"] or "").strip("\"'")
        found = options.get(name) or options.get(_RENAMED.get(name, name))
        if match["option"] is not None:
            return match["option"]
        if found is None:
            return match[0]
        flag = next((name for name in found.opts if name.startswith("--")), found.opts[0])
        return flag if found.is_flag or not value else f"{flag} {value}"

    return _ARGUMENT.sub(option, _OPTION_AFTER.sub(r"\1", text))


def _kept(advice: str) -> str:
    """The clauses of an advice that can be followed without Python."""
    parts = _CLAUSES.split(advice)
    clauses = [(parts[i - 1] if i else "", parts[i]) for i in range(0, len(parts), 2)]
    kept = [(joint, clause) for joint, clause in clauses if not _needs_python(clause)]
    return "".join(joint + clause if i else clause for i, (joint, clause) in enumerate(kept))


def _needs_python(clause: str) -> bool:
    plain = re.sub(r"`platestore [^`]*`", "", clause)
    return bool(_ARGUMENT.search(plain) or _PYTHON.search(plain))
