"""``platestore demo``."""

from __future__ import annotations

import click

from platestore.cli.output import echo
from platestore.demo import build_demo, check_demo
from platestore.summary import describe, render


@click.command("demo")
@click.argument("path", type=click.Path())
@click.option(
    "--version",
    "version",
    type=click.Choice(["0.4", "0.5"]),
    default="0.5",
    show_default=True,
    help="OME-NGFF version.",
)
def command(path: str, version: str) -> None:
    """Build a small 96-well plate at PATH, read it back and describe it."""
    build_demo(path, version=version)
    count = check_demo(path)
    echo(render(describe(path, verbose=True)))
    echo(f"\n{count} images were written, read back and compared.")
