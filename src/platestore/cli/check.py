"""``platestore check``."""

from __future__ import annotations

import json
import sys
import warnings

import click

from platestore.cli import values
from platestore.cli.output import complain, echo
from platestore.progress import shown_to_people

# Findings of one kind that are told one by one; `--json` has all of them.
_EXAMPLES = 3


@click.command("check")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(), callback=values.nodes)
@click.option(
    "-d",
    "--deep",
    is_flag=True,
    help="Read and decode every chunk, and compare each level with the one it was made from.",
)
@click.option(
    "-r", "--repair", is_flag=True, help="Repair the problems that can be repaired. No pixels are deleted."
)
@click.option("-n", "--dry-run", is_flag=True, help="Print what --repair would do, and change nothing.")
@click.option(
    "--max-memory",
    metavar="SIZE",
    help="Memory that a repair may use to compute levels, such as 500MB; 1GiB by default.",
)
@click.option("-w", "--workers", type=int, help="Number of threads; by default one for each processor.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    paths: tuple[str, ...],
    deep: bool,
    repair: bool,
    dry_run: bool,
    max_memory: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Find out whether stores are whole (PLATE.zarr, PLATE.zarr/A/1/0, PLATE.ozx), and repair them.

    What is on disk is compared with what the documents say: members that are missing or not listed, damaged
    chunks and shards, pyramids that do not fit, what interrupted programs left. A repair keeps documents and
    files that it takes out beside the store, in PLATE.zarr.quarantine. Call it when nothing writes to the
    store. The exit code is 0 only if everything is whole (after a repair: now).
    """
    from platestore.checking.check import check
    from platestore.checking.report import of_a_kind, told
    from platestore.errors import PlatestoreError

    reports, broken = [], False
    for path in paths:
        try:
            with shown_to_people("checking") as show, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of flaws that are findings here
                report = check(
                    path,
                    deep=deep,
                    repair=repair,
                    dry_run=dry_run,
                    max_memory=max_memory,
                    workers=workers,
                    progress=show,
                )
        except (PlatestoreError, OSError) as error:
            broken = True
            complain(error)
            reports.append({"path": path, "whole": False, "message": str(error), "findings": []})
            continue
        broken = broken or not report.whole
        reports.append(report.to_json())
        if as_json:
            continue
        for line in told(report.findings, alike=of_a_kind, most=_EXAMPLES):
            echo(line)
        for action in report.actions:
            echo(f"{'would' if dry_run else 'done '}    {action}")
        for failure in report.failed:
            echo(f"failed   {failure}", err=True)
        echo(f"{path}: {report.message}")
    if as_json:
        echo(json.dumps(_one(reports), ensure_ascii=False, indent=2))
    if broken:
        sys.exit(1)


def _one(reports: list[dict[str, object]]) -> dict[str, object]:
    """The reports as one object: that of the only path, or a verdict over all of them."""
    if len(reports) == 1:
        return reports[0]
    whole = all(report["whole"] for report in reports)
    words = f"{sum(bool(r['whole']) for r in reports)} of {len(reports)} stores are whole"
    return {"whole": whole, "message": words, "stores": reports}
