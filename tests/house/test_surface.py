"""Public names, help pages and codes change on purpose only: ``PLATESTORE_ACCEPT=1`` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import surface

KEPT = {"api.txt": surface.api, "command_line.txt": surface.command_line, "codes.txt": surface.codes}


@pytest.mark.parametrize("name", KEPT)
def test_what_users_meet_is_as_it_was(name):
    kept = Path(__file__).parent / name
    now = KEPT[name]()
    if os.environ.get("PLATESTORE_ACCEPT"):
        kept.write_text(now)
    before, after = kept.read_text().splitlines(), now.splitlines()
    assert after == before
