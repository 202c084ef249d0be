"""``platestore recover``."""

from __future__ import annotations

import json

import click

from platestore.cli.output import echo
from platestore.spec.names import natural_key


@click.command("recover")
@click.argument("path", type=click.Path())
@click.option(
    "--keep-partial",
    is_flag=True,
    help="Keep frames after the last complete time point; those that are missing among them are zeros.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(path: str, keep_partial: bool, as_json: bool) -> None:
    """Complete the runs that a killed acquisition left (PLATE.zarr, PLATE.zarr/A/1/0).

    Frames that were acknowledged are put into the image, the time axis is cut after the last complete time
    point, levels and the metadata of frames are completed. Doing it twice changes nothing. Positions that a
    living process acquires into are left alone.
    """
    from platestore.acquisition import recover

    report = recover(path, keep_partial=keep_partial)
    if as_json:
        echo(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
        return
    for name in sorted(report.recovered, key=natural_key):
        parts = [f"{report.recovered[name]} frames"]
        parts += [f"{len(report.missing[name])} missing"] if report.missing[name] else []
        parts += [f"{len(report.dropped[name])} cut away"] if report.dropped[name] else []
        echo(f"{name}: {', '.join(parts)}")
    for name in report.running:
        echo(f"{name}: is being acquired; left alone", err=True)
    echo(f"{len(report.recovered)} runs completed" if report.recovered else "nothing to recover")
