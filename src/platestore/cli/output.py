"""Printing: names come from documents of others, and a terminal acts on some of what may be in them."""

from __future__ import annotations

import sys

import click

from platestore.cli.words import in_options

#: The exit code after Ctrl-C, as shells have it.
INTERRUPTED = 130


def echo(text: str, *, err: bool = False) -> None:
    r"""Print text; what a terminal would act on, or cannot show, is printed as ``\uXXXX``.

    Parameters
    ----------
    text : str
        The text; line ends and tabs stay. Escapes are those of JSON, so that a document stays one.
    err : bool
        Whether it goes to standard error.
    """
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo("".join(c if _is_plain(c, encoding) else _escaped(c) for c in text), err=err)


def complain(problem: object, kind: str = "Error", *, command: click.Command | None = None) -> None:
    """Print an error or a warning to standard error, with options for arguments.

    Parameters
    ----------
    problem : object
        The error, the warning, or its text.
    kind : str
        What it is.
    command : click.Command, optional
        Whose options are meant; by default those of the command that runs.
    """
    if command is None:
        context = click.get_current_context(silent=True)
        command = None if context is None else context.command
    echo(f"{kind}: {in_options(str(problem), command)}", err=True)


def _is_plain(character: str, encoding: str) -> bool:
    if character.isascii():
        return character.isprintable() or character in "\n\t"
    if not character.isprintable():
        return False  # half of a surrogate pair, or what turns the direction of writing
    try:
        character.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
