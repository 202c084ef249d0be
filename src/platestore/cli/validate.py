"""``platestore validate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

import click

from platestore.checking.report import ValidationReport, counted, told
from platestore.checking.validation import validate
from platestore.cli import values
from platestore.cli.output import echo
from platestore.spec.findings import Finding


@click.command("validate")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(), callback=values.nodes)
@click.option(
    "--strict", is_flag=True, help="Require everything that the strict schemas of OME-NGFF ask for."
)
@click.option("--pedantic", is_flag=True, help="Treat warnings as errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("--exit-zero", is_flag=True, help="Exit with code 0 even if something is not valid.")
def command(paths: tuple[str, ...], strict: bool, pedantic: bool, as_json: bool, exit_zero: bool) -> None:
    """Say whether stores are OME-NGFF 0.4 or 0.5, and fit their metadata.

    PATH is a store, a node in one (PLATE.zarr/A/1/0), an .ozx archive, or a JSON file with the attributes of
    a group. Documents are read, and no pixels; `platestore check` looks at those. The exit code is 1 if
    something is not valid.
    """
    report = validate(*paths, strict=strict, pedantic=pedantic)
    if as_json:
        echo(json.dumps(report.to_json(), ensure_ascii=True, indent=2))
    else:
        echo("\n".join(lines(report)))
    if not report.valid and not exit_zero:
        sys.exit(1)


def lines(report: ValidationReport) -> Iterator[str]:
    """A report for people: what is the same in many files is told once."""
    yield from told(report.findings)
    yield _verdict(report.valid, report.findings, report.paths)


def _verdict(valid: bool, findings: Sequence[Finding], paths: Sequence[str]) -> str:
    what = paths[0] if len(paths) == 1 else f"{len(paths)} paths"
    return f"{what}: {'valid' if valid else 'not valid'} ({counted(findings)})"
