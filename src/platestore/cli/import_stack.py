"""``platestore import-stack``."""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from platestore.cli import values
from platestore.cli.output import INTERRUPTED, complain, echo
from platestore.progress import shown_to_people
from platestore.settings import human_bytes
from platestore.spec.compressors import offered
from platestore.spec.reductions import FOR_IMAGES, METHODS

if TYPE_CHECKING:
    from platestore.nodes.position import Position
    from platestore.stacks import StackPlan


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        sizes = tuple(float(part) for part in value.lower().replace("x", ",").split(","))
    except ValueError:
        sizes = ()
    if len(sizes) != 3:
        raise click.BadParameter(f"{value!r} is no size such as 2,0.5,0.5 (Z, Y, X)")
    return sizes


@click.command("import-stack", epilog="Exit codes: 0 done, 1 failed, 2 wrong options, 130 interrupted.")
@click.argument("paths", metavar="PLANES... OUT", nargs=-1, required=True, type=click.Path())
@click.option(
    "--voxel-size",
    callback=_sizes,
    metavar="Z,Y,X",
    help="Size of a voxel along Z, Y and X, in --unit. Required.",
)
@click.option("--unit", default="micrometer", show_default=True, help="Unit of the voxel size.")
@click.option("--name", help="Name of the image; by default the name of OUT.")
@click.option(
    "-c",
    "--channel",
    multiple=True,
    callback=values.names,
    metavar="NAME",
    help="Name of the channel, or names of all channels.",
)
@click.option(
    "-l",
    "--levels",
    default="auto",
    type=values.levels,
    metavar="N|auto",
    show_default=True,
    help="Number of resolution levels, the full image included. With auto, levels "
    "are added until Y and X are at most 256.",
)
@click.option(
    "-m",
    "--method",
    type=click.Choice([*METHODS]),
    default=FOR_IMAGES,
    show_default=True,
    help="How voxels of a level are combined into one of the next.",
)
@click.option("--chunks", type=values.shape, metavar="SHAPE", help="Shape of the chunks, such as 64,128,128.")
@click.option(
    "--shards",
    type=values.shards,
    metavar="SHAPE|SIZE|AXES|none",
    help="Shards (0.5 only): a shape, a largest size (1GB), or axes that a shard holds whole (YX).",
)
@click.option(
    "--compressor",
    metavar="NAME[:LEVEL]",
    help=f"Compressor of the chunks: {offered()}.",
)
@values.ome_version(
    "OME-NGFF version of a new store; by default 0.4, or 0.5 where --shards are given. A plate keeps its own."
)
@click.option(
    "--block",
    type=int,
    metavar="PLANES",
    help="Number of planes that a job imports, or after which progress is noted for --resume.",
)
@click.option(
    "--jobs",
    type=int,
    metavar="N",
    help="Plan at most N jobs and import nothing yet; --job runs them, on any machine.",
)
@click.option(
    "--job", type=int, metavar="I", help="Run job number I of the plan for OUT. PLANES are not named."
)
@click.option("--finish", is_flag=True, help="Complete OUT after all jobs are done. PLANES are not named.")
@click.option("--force", is_flag=True, help="With --job, run the job again although it is done.")
@click.option(
    "--resume", is_flag=True, help="Continue an import that was interrupted. Give the other options again."
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace OUT when the image is complete. An unfinished import is started anew.",
)
@click.option(
    "--max-memory", metavar="SIZE", help="Memory that the command may use, such as 500MB; 1GiB by default."
)
@click.option("-w", "--workers", type=int, help="Number of threads; by default one for each processor.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be done, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(paths: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Write a stack of TIFF planes as an image with its levels.

    PLANES are a folder, files, a pattern (quoted or not), one file of several planes, or a zarr array. OUT is
    a new store, or a position of a plate (PLATE.zarr/B/2/0). The image grows in OUT.importing and gets its
    name when it is complete.
    """
    _check(paths, options)
    start = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _dispatch(paths, as_json, options, start)
        except ImportError as error:
            complain(error)
            sys.exit(1)
        except KeyboardInterrupt:
            echo(f"\nInterrupted. {_advice(options)}", err=True)
            sys.exit(INTERRUPTED)
        finally:
            for warning in caught:
                complain(warning.message, "Warning")


def _check(paths: tuple[str, ...], options: dict[str, Any]) -> None:
    """Refuse options that contradict each other."""
    asked = [
        name
        for name, given in (
            ("--jobs", options["jobs"] is not None),
            ("--job", options["job"] is not None),
            ("--finish", options["finish"]),
        )
        if given
    ]
    if len(asked) > 1:
        raise click.UsageError(f"{' and '.join(asked)} are different steps: pass one of them")
    if asked and asked[0] != "--jobs":
        if len(paths) > 1:
            raise click.UsageError(f"with {asked[0]} only OUT is named: the plan knows the planes")
        here = {"job", "finish", "force", "max_memory", "workers"}
        context = click.get_current_context()
        other = [
            name
            for name in options
            if name not in here and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ]
        if other:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in other)
            raise click.UsageError(f"{names} would change the plan, which {asked[0]} carries out as it is")
        return
    if len(paths) < 2:
        raise click.UsageError("name the planes and the destination: PLANES... OUT")
    if options["voxel_size"] is None:
        raise click.UsageError("Missing option '--voxel-size'.")
    if options["force"]:
        raise click.UsageError("--force belongs to --job")


def _dispatch(paths: tuple[str, ...], as_json: bool, options: dict[str, Any], start: float) -> None:
    """Do the step that is asked for."""
    from platestore.stacks import finish, run_job

    resources = {name: options[name] for name in ("max_memory", "workers")}
    out = paths[-1]
    if options["job"] is not None:
        with shown_to_people(f"job {options['job']}") as show:
            job = run_job(out, options["job"], force=options["force"], progress=show, **resources)
        facts = {"index": job.index, "start": job.start, "stop": job.stop, "done": job.done}
        _print(as_json, facts, f"{out}: job {job.index} (planes {job.start}:{job.stop}) is done")
        return
    if options["finish"]:
        with shown_to_people("levels") as show:
            position = finish(out, progress=show, **resources)
        _report(position, as_json, start)
        return
    _import(paths, as_json, options, resources, start)


def _import(
    paths: tuple[str, ...], as_json: bool, options: dict[str, Any], resources: dict[str, Any], start: float
) -> None:
    """Plan, or import."""
    from platestore.stacks import import_stack, plan

    names = (
        "voxel_size",
        "name",
        "levels",
        "method",
        "chunks",
        "shards",
        "compressor",
        "version",
        "block",
        "overwrite",
        "resume",
        "max_memory",
    )
    given = {name: options[name] for name in names}
    given.update(spatial_unit=options["unit"], channel_name=options["channel"])
    planes = paths[0] if len(paths) == 2 else list(paths[:-1])
    if options["jobs"] is not None or options["dry_run"]:
        prepared = plan(planes, paths[-1], jobs=options["jobs"], dry_run=options["dry_run"], **given)
        _print_plan(prepared, as_json, dry_run=options["dry_run"])
        return
    with shown_to_people("importing") as show:
        position = import_stack(planes, paths[-1], workers=resources["workers"], progress=show, **given)
    _report(position, as_json, start)


def _advice(options: dict[str, Any]) -> str:
    if options["job"] is not None or options["finish"]:
        return "Nothing is lost: run the same command again."
    if options["jobs"] is not None:
        return "Run the same command again, with --overwrite if a plan is there."
    return "Nothing is lost: the same command with --resume continues, with --overwrite starts anew."


def _print(as_json: bool, facts: dict[str, Any], text: str) -> None:
    echo(json.dumps(facts, ensure_ascii=False, indent=2) if as_json else text)


def _report(position: Position, as_json: bool, start: float) -> None:
    """Say what was written."""
    images = [array for _, array in position.images()]
    seconds = time.monotonic() - start
    facts: dict[str, Any] = {
        "out": position.__editor__().location.where,
        "shape": list(images[0].shape),
        "dtype": str(images[0].dtype),
        "version": position.version,
        "levels": len(images),
        "bytes": images[0].nbytes,
        "seconds": round(seconds, 3),
    }
    nbytes, rate = human_bytes(images[0].nbytes), human_bytes(images[0].nbytes / max(seconds, 1e-9))
    text = f"{facts['out']}: {_short(facts['shape'])} {facts['dtype']}, {_plural(len(images), 'level')}"
    text += f", OME-NGFF {position.version}, {nbytes} in {seconds:.1f} s ({rate}/s)"
    _print(as_json, facts, text)


def _print_plan(prepared: StackPlan, as_json: bool, *, dry_run: bool) -> None:
    """Say what will be done, and how the jobs are run."""
    facts = prepared.to_json()
    if as_json:
        echo(json.dumps({**facts, "dry_run": dry_run}, ensure_ascii=False, indent=2))
        return
    echo(f"to      {facts['out']} (OME-NGFF {facts['version']})")
    echo(f"memory  {human_bytes(facts['memory'])}")
    for k, level in enumerate(facts["levels"]):
        shape, chunks = _short(level["shape"]), _short(level["chunks"])
        shards = f", shards {_short(level['shards'])}" if level["shards"] else ""
        who = "" if k < facts["levels_of_jobs"] else ", made at the end"
        echo(f"  {k}: {shape} {facts['dtype']}, chunks {chunks}{shards}{who}")
    jobs = facts["jobs"]
    first = jobs[0]
    planes = f"{first['stop'] - first['start']} planes each" if len(jobs) > 1 else "all planes"
    echo(f"jobs    {len(jobs)} ({planes})")
    if not dry_run:
        echo(f"run     platestore import-stack --job I {facts['out']}   (I from 0 to {len(jobs) - 1})")
        echo(f"then    platestore import-stack --finish {facts['out']}")


def _short(shape: list[int]) -> str:
    return "x".join(map(str, shape))


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
