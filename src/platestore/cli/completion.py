"""``platestore completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from platestore.cli.output import echo


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "fish", "zsh"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands in your shell.

    For bash: eval "$(platestore completion bash)" in ~/.bashrc.
    """
    complete = get_completion_class(shell)
    if complete is None:  # pragma: no cover - the choices above are click's own
        raise click.UsageError(f"{shell} is not supported")
    root = ctx.find_root().command
    echo(complete(root, {}, "platestore", "_PLATESTORE_COMPLETE").source())
