"""``platestore info``."""

from __future__ import annotations

import json
import sys

import click

from platestore.cli import values
from platestore.cli.output import complain, echo
from platestore.errors import PlatestoreError
from platestore.summary import describe, render


@click.command("info")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(), callback=values.nodes)
@click.option(
    "-v", "--verbose", is_flag=True, help="Count all positions, and measure the size of the store on disk."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON array with an object for each path."
)
def command(paths: tuple[str, ...], verbose: bool, as_json: bool) -> None:
    """Describe stores, or nodes in them (PLATE.zarr, PLATE.zarr/A/1/0).

    Of a plate, the plate itself, one well and one position are read. The exit code is 0 only if
    everything named was readable.
    """
    reports, failed = [], False
    for path in paths:
        try:
            info = describe(path, verbose=verbose)
        except (PlatestoreError, OSError) as error:
            failed = True
            complain(error)
            continue
        failed = failed or bool(info.unreadable)
        if as_json:
            reports.append(info.model_dump(mode="json"))
        else:
            echo(render(info) + "\n")
    if as_json:
        echo(json.dumps(reports, ensure_ascii=False, indent=2))
    if failed:
        sys.exit(1)
