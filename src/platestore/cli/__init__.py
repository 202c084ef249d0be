"""The ``platestore`` command; each of its commands is a module, loaded when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

import platestore
from platestore.cli.output import echo

# Name, and the line that `platestore --help` shows.
_COMMANDS = {
    "check": "Find out whether stores are whole, and repair them.",
    "copy": "Copy, convert, choose, merge or pack stores.",
    "completion": "Print the script that completes commands in your shell.",
    "demo": "Build a small plate, read it back and describe it.",
    "import-stack": "Write a stack of planes as an image with its pyramid.",
    "info": "Describe stores, or nodes in them.",
    "ls": "List the positions of a plate, well or series.",
    "pyramid": "Compute the resolution levels of positions.",
    "plan": "Say what a layout of chunks and shards means.",
    "validate": "Say whether stores are OME-NGFF, and fit their metadata.",
}


class _Lazy(click.Group):
    """A group that imports a command when it is asked for: `info` does not pay for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module: Any = importlib.import_module(f"platestore.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(platestore.__version__, "-V", "--version", prog_name="platestore")
def cli() -> None:
    """OME-Zarr plates and positions for high-content screening."""


def main() -> None:
    """Run the command; errors of this library are messages, not tracebacks."""
    from platestore.errors import PlatestoreError

    try:
        cli(prog_name="platestore")
    except PlatestoreError as error:
        echo(f"Error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        echo(f"Error: {error.filename or ''}: {error.strerror or error}", err=True)
        sys.exit(1)
