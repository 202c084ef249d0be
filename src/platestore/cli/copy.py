"""``platestore copy``."""

from __future__ import annotations

import json
import sys
import warnings
from typing import TYPE_CHECKING, Any

import click

from platestore.cli import values
from platestore.cli.output import INTERRUPTED, complain, echo
from platestore.progress import shown_to_people
from platestore.settings import human_bytes
from platestore.spec.compressors import offered

if TYPE_CHECKING:
    from platestore.copying.report import ArrayReport, CopyReport

_VERIFY_FAILED = 3
_SHOWN = 20


@click.command(
    "copy",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong options, 3 the copy differs from the source (--verify), "
    "130 interrupted.",
)
@click.argument("paths", metavar="SRC... DST", nargs=-1, required=True, type=click.Path())
@click.option(
    "-p", "--positions", multiple=True, metavar="GLOB", help="Copy only these positions, such as 'A/*/0'."
)
@click.option("--wells", multiple=True, metavar="GLOB", help="Copy only these wells, such as 'B/*'.")
@click.option(
    "-a",
    "--acquisition",
    multiple=True,
    type=int,
    help="Copy only the positions of this acquisition (its number).",
)
@click.option(
    "-c",
    "--channels",
    multiple=True,
    metavar="NAMES",
    help="Copy only these channels, in this order: GFP,DAPI, or one -c for each. "
    "A name that contains a comma is taken as it is.",
)
@click.option("-t", "--time", metavar="RANGE", help="Copy only these time points: 3, 0:10 or ::2.")
@click.option("-z", "--z", metavar="RANGE", help="Copy only these planes along Z: 3, 0:10 or ::2.")
@click.option(
    "--crop", metavar="Y0:Y1,X0:X1", help="Copy only this region, in pixels of the full resolution."
)
@click.option(
    "--levels",
    type=click.Choice(["all", "0", "none"]),
    default="all",
    show_default=True,
    help="Resolution levels to copy: all, only the full resolution (0), or arrays without pixels (none).",
)
@click.option("--no-labels", is_flag=True, help="Copy no label images.")
@click.option(
    "--only-ome",
    is_flag=True,
    help="Copy only what OME-Zarr defines, and no attributes, tables or groups of other programs.",
)
@values.ome_version("OME-NGFF version of the copy; by default that of the first SRC, and 0.5 for archives.")
@click.option(
    "--chunks",
    type=values.shape,
    metavar="SHAPE",
    help="Shape of the chunks of the copy, such as 1,1,16,512,512.",
)
@click.option(
    "--shards",
    type=values.shards,
    metavar="SHAPE|SIZE|AXES|none",
    help="Shards of the copy: a shape, a largest size (1GB), or axes that a shard holds whole (ZYX).",
)
@click.option(
    "--shards-ratio",
    type=values.shape,
    metavar="SHAPE",
    help="Number of chunks in a shard along each axis, instead of --shards.",
)
@click.option("--checksum", is_flag=True, help="Store a checksum (crc32c) with each chunk; 0.5 only.")
@click.option(
    "--compressor",
    metavar="NAME[:LEVEL]",
    help=f"Compressor of the chunks: {offered()}.",
)
@click.option(
    "--pyramid",
    type=values.levels,
    metavar="N|auto",
    help="Compute the resolution levels of the copy anew: this many, the full image included.",
)
@click.option(
    "--map",
    "map_",
    type=click.Path(),
    metavar="CSV",
    help="CSV file that says which wells or positions get other names; its columns are from and to.",
)
@click.option(
    "--channels-differ",
    type=click.Choice(["keep", "refuse"]),
    default="keep",
    show_default=True,
    help="What happens to positions whose channels differ when stores are merged: "
    "each keeps its own, or nothing is copied.",
)
@click.option(
    "--axes-case", type=click.Choice(["lower"]), help="Write the names of axes in lower case: t, c, z, y, x."
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace DST when the copy is complete. An unfinished copy is started anew.",
)
@click.option(
    "--resume", is_flag=True, help="Continue a copy that was interrupted. Give the other options again."
)
@click.option(
    "--verify",
    is_flag=True,
    help="Read the copy again and compare it with the source before it gets its name.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be done, and write nothing.")
@click.option(
    "--max-memory", metavar="SIZE", help="Memory that the command may use, such as 500MB; 1GiB by default."
)
@click.option("-w", "--workers", type=int, help="Number of threads; by default one for each processor.")
@click.option(
    "--lock-timeout",
    type=float,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds to wait for another program that is changing the plate that DST lies in.",
)
@click.option(
    "--durability",
    type=click.Choice(["process", "metadata", "full"]),
    default="process",
    show_default=True,
    help="What is flushed to the disk before the command ends: nothing (process), "
    "metadata, or everything (full).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    paths: tuple[str, ...],
    acquisition: tuple[int, ...],
    positions: tuple[str, ...],
    wells: tuple[str, ...],
    channels: tuple[str, ...],
    no_labels: bool,
    map_: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Copy plates, wells, positions or series: whole or in part, as they are or in another layout.

    A DST that ends with .ozx becomes an archive; one inside a plate (PLATE.zarr/B/2/0) becomes a part of
    it, and makes the plate if there is none. Several SRC are merged into one plate. The copy grows in
    DST.copying and gets its name when it is complete. Notes say what stays behind, and what is different.
    """
    from platestore.copying.api import copy
    from platestore.errors import VerifyError

    if len(paths) < 2:
        raise click.UsageError("name at least one source and the destination: SRC... DST")
    sources = values.nodes(click.get_current_context(), None, paths[:-1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with shown_to_people("copying") as show:
                report = copy(
                    list(sources),
                    paths[-1],
                    positions=positions or None,
                    wells=wells or None,
                    channels=channels or None,
                    acquisition=acquisition or None,
                    labels=not no_labels,
                    map=map_,
                    progress=show,
                    **options,
                )
        except KeyboardInterrupt:
            echo(
                "\nInterrupted. Nothing is lost: the same command with --resume continues, "
                "with --overwrite starts anew.",
                err=True,
            )
            sys.exit(INTERRUPTED)
        except VerifyError as error:
            complain(error)
            sys.exit(_VERIFY_FAILED)
        finally:
            for warning in caught:
                complain(warning.message, "Warning")
    if as_json:
        echo(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
    else:
        _print(report)


def _print(report: CopyReport) -> None:
    """The report as text: a plan in some lines, what was done in one."""
    counts = {how: report.count(how) for how in ("files", "pixels", "levels", "empty")}
    words = {
        "files": "copied as files",
        "pixels": "encoded anew",
        "levels": "levels made anew",
        "empty": "left empty",
    }
    arrays = ", ".join(f"{n} {words[how]}" for how, n in counts.items() if n) or "none"
    if report.dry_run:
        _print_plan(report)
        state = "would be written"
    else:
        state = f"written in {report.seconds:.1f} s"
        if report.seconds:
            state += f" ({human_bytes(report.nbytes / report.seconds)}/s)"
    done = [f"{report.destination}: {_plural(report.positions, 'position')}, arrays: {arrays}"]
    done.append(f"{_plural(report.files, 'file')}, {human_bytes(report.nbytes)} {state}")
    if report.resumed:
        done.append("resumed")
    if report.verified:
        done.append("verified")
    if report.unclaimed:
        done.append(f"{_plural(report.unclaimed, 'file')} named like chunks, but of no array")
    for note in report.notes:
        echo(f"Note: {note}", err=True)
    echo("; ".join(done))


def _print_plan(report: CopyReport) -> None:
    for source in report.sources:
        echo(f"from    {source}")
    echo(f"to      {report.destination} (OME-NGFF {report.version})")
    echo(f"memory  {human_bytes(report.memory)} at least")
    groups: dict[tuple[str, str, str], list[ArrayReport]] = {}
    for array in report.arrays:
        # Alike in all positions: one line for each level, unless there are few.
        name = array.path if len(report.arrays) <= _SHOWN else f"*/{array.path.rpartition('/')[2]}"
        groups.setdefault((name, array.how, array.why), []).append(array)
    for (name, how, why), arrays in groups.items():
        count = f" ({_plural(len(arrays), 'array')})" if len(arrays) > 1 else ""
        files, nbytes = sum(a.files for a in arrays), sum(a.nbytes for a in arrays)
        echo(f"  {name}{count}: {how} ({why}), {_plural(files, 'file')}, {human_bytes(nbytes)}")


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
