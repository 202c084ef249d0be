"""``platestore demo``."""

from __future__ import annotations

import click

from platestore.cli import values
from platestore.cli.output import echo


@click.command("demo")
@click.argument("path", type=click.Path())
@values.ome_version("OME-NGFF version of the plate; 0.4 by default.")
def command(path: str, version: str | None) -> None:
    """Build a small 96-well plate at PATH, read it back and describe it.

    The plate has twelve images of cells, and takes 6.5 MB. Nothing may be at PATH yet.
    """
    from platestore.demo import build_demo, check_demo
    from platestore.spec.versions import new_version
    from platestore.summary import describe, render

    build_demo(path, version=new_version(version, sharded=False))
    count = check_demo(path)
    echo(render(describe(path, verbose=True)))
    echo(f"\n{count} images were written, read back and compared.")
