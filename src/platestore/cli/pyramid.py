"""``platestore pyramid``."""

from __future__ import annotations

import json
import sys
import warnings

import click

from platestore.cli import values
from platestore.cli.output import complain, echo
from platestore.progress import shown_to_people
from platestore.spec.reductions import FOR_IMAGES, METHODS


@click.command("pyramid")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(), callback=values.nodes)
@click.option(
    "-l",
    "--levels",
    type=values.levels,
    metavar="N|auto",
    help="Number of resolution levels, the full image included. By default a position keeps the number it "
    "has; one without a pyramid gets levels until Y and X are at most 256 (auto).",
)
@click.option(
    "-m",
    "--method",
    type=click.Choice([*METHODS]),
    default=FOR_IMAGES,
    show_default=True,
    help="How pixels of a level are combined into one of the next. Label images always use mode.",
)
@click.option(
    "-d",
    "--dims",
    callback=values.axes,
    metavar="AXES",
    help="Axes along which each level is half as large, such as yx; zyx by default.",
)
@click.option(
    "--max-memory", metavar="SIZE", help="Memory that the command may use, such as 500MB; 1GiB by default."
)
@click.option("-w", "--workers", type=int, help="Number of threads; by default one for each processor.")
@click.option(
    "-f",
    "--force",
    is_flag=True,
    help="Compute levels anew although they are complete, also those that another program made.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    paths: tuple[str, ...],
    levels: int | str | None,
    method: str,
    dims: list[str] | None,
    max_memory: str | None,
    workers: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compute the pyramids of positions (PLATE.zarr, PLATE.zarr/A/1/0).

    Positions whose levels are complete and made in the same way are skipped, so a run that was interrupted
    is finished by the same command. Levels that another program made stay, unless --force is given. New ones
    appear when they are complete; the full image is only read. The exit code is 1 if a position failed.
    """
    from platestore.processing import compute_pyramids

    with shown_to_people("pyramids") as show, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = compute_pyramids(
            paths,
            levels,
            method,
            dims,
            max_memory=max_memory,
            workers=workers,
            force=force,
            progress=show,
        )
    if as_json:
        echo(
            json.dumps(
                {
                    "computed": sorted(report.computed),
                    "skipped": report.skipped,
                    "failed": report.failed,
                    "left": report.left,
                    "bytes": report.nbytes,
                    "seconds": round(report.seconds, 3),
                },
                ensure_ascii=False,
                indent=2,
            )
        )
    else:
        rate = report.nbytes / max(report.seconds, 1e-9) / 2**20
        speed = f", {report.nbytes / 2**20:.1f} MiB in {report.seconds:.1f} s ({rate:.0f} MiB/s)"
        echo(
            f"{len(report.computed)} computed, {len(report.skipped)} complete already, "
            f"{len(report.failed)} failed{speed if report.computed else ''}"
        )
    for warning in caught:
        complain(warning.message, "Warning")
    for text in report.left:
        echo(text, err=as_json)
    for path, problem in report.failed.items():
        complain(problem if path in problem else f"{path}: {problem}")
    if report.failed:
        sys.exit(1)
