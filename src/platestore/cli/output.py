"""Printing: names come from documents of others, and a terminal acts on some of what may be in them."""

from __future__ import annotations

import sys

import click


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
