"""The ``platestore`` command; each of its commands is a module, loaded when it is called."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import click

import platestore
from platestore.cli.output import INTERRUPTED, complain, echo

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
    "recover": "Complete the runs that a killed acquisition left.",
    "validate": "Say whether stores are OME-NGFF, and fit their metadata.",
}


class _Lazy(click.Group):
    """A group that imports a command when it is asked for, and turns what stops a command into words.

    `info` does not pay for the others. Errors of the library and of the system are messages, not tracebacks;
    Ctrl-C ends a command with code 130.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module: Any = importlib.import_module(f"platestore.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name.lower().replace("_", "-"), _COMMANDS, 2, 0.5)
            said = f"Did you mean {' or '.join(near)}?" if near else f"One of {', '.join(sorted(_COMMANDS))}."
            raise click.UsageError(f"No such command {name!r}. {said}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        from platestore.errors import PlatestoreError

        try:
            return super().invoke(ctx)
        except PlatestoreError as error:
            complain(error, command=self._running(ctx))
            code = 1
        except KeyboardInterrupt:
            echo("\nInterrupted. The same command starts again, or goes on where it was.", err=True)
            code = INTERRUPTED
        except BrokenPipeError:
            raise  # click knows what to do: whoever read the output has seen enough
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            echo(f"Error: {where}{error.strerror or error}", err=True)
            code = 1
        return ctx.exit(code)

    def _running(self, ctx: click.Context) -> click.Command | None:
        name = ctx.invoked_subcommand
        return None if name is None else self.get_command(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(platestore.__version__, "-V", "--version", prog_name="platestore")
def cli() -> None:
    """OME-Zarr plates and positions for high-content screening."""


def main() -> None:
    """Run the command."""
    cli(prog_name="platestore")
