"""``platestore ls``."""

from __future__ import annotations

import json
import sys
import warnings

import click

from platestore.cli.output import complain, echo
from platestore.errors import UnreadableWarning
from platestore.summary import positions


@click.command("ls")
@click.argument("path", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print the positions as one JSON array of strings.")
@click.option(
    "--full",
    is_flag=True,
    help="Print paths that can be opened (PATH/A/1/0) instead of paths inside PATH (A/1/0).",
)
def command(path: str, as_json: bool, full: bool) -> None:
    """List the positions of a plate, row, well or series, one a line, in the order of the metadata.

    A well that is listed but cannot be read is reported, and the exit code is 1.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = list(positions(path))
    if full:
        found = [path if name == "." else f"{path.rstrip('/')}/{name}" for name in found]
    if as_json:
        echo(json.dumps(found, ensure_ascii=False))
    elif found:
        echo("\n".join(found))
    for warning in caught:
        complain(warning.message, "Warning")
    if any(issubclass(warning.category, UnreadableWarning) for warning in caught):
        sys.exit(1)
