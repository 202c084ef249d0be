"""Every code block of the README and the documentation runs, and says what is true."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch, capsys):
    code = blocks(page, "python")
    if not code:
        pytest.skip("no Python on this page")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    with warnings.catch_warnings():
        for number, block in enumerate(code):
            exec(compile(block, f"{page.name}, block {number}", "exec"), scope)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run(page, tmp_path):
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("platestore ")]
    if not commands:
        pytest.skip("no commands on this page")
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.slow
def test_sample_output_of_the_readme_is_what_the_command_prints(tmp_path):
    sample = blocks(ROOT / "README.md", "text")[0].split("\n", 1)[1].rstrip()
    for command in (["demo", "demo.zarr"], ["info", "demo.zarr"]):
        done = subprocess.run(
            [sys.executable, "-m", "platestore", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.startswith(sample)


@pytest.mark.slow
def test_the_picture_of_the_readme_is_what_its_script_draws(tmp_path):
    script = tmp_path / "picture.py"
    script.write_text((ROOT / "docs" / "picture.py").read_text())
    subprocess.run([sys.executable, str(script)], check=True, capture_output=True)
    drawn, stored = ((folder / "plate.png").read_bytes() for folder in (tmp_path, ROOT / "docs"))
    assert drawn[:33] == stored[:33], "another size or kind of picture: run `python docs/picture.py`"


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text()):
            if target.startswith("http"):
                continue
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor in anchors(there), f"{page.name}: {target}#{anchor}"
