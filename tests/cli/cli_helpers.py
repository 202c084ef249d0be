"""Calling the command in tests: as a process, or in this one."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from click.testing import CliRunner, Result

from platestore.cli import cli
from platestore.errors import PlatestoreError


def run_command(*arguments: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """The command as a process: what users see, to the exit code."""
    return subprocess.run(
        [sys.executable, "-m", "platestore", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **kwargs,
    )


def invoke_command(*arguments: object) -> Result:
    """The same in this process, for what needs no process of its own."""
    result = CliRunner().invoke(cli, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, (SystemExit, PlatestoreError)):
        raise result.exception
    return result
