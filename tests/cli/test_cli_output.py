"""Names of others on a terminal: nothing that it acts on, nothing that it cannot show."""

from __future__ import annotations

import io
import json
import sys

import pytest

from platestore.cli.output import echo

HOSTILE = "a\x1b[31mb\r\u202ec\ud800d\u0000e\U000e0001f"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_what_a_terminal_would_act_on_is_escaped(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    echo(f"{HOSTILE}\n\tÄ\N{MICROSCOPE}")
    sys.stdout.flush()
    text = raw.getvalue().decode(encoding)
    assert text.startswith("a\\u001b[31mb\\u000d\\u202ec\\ud800d\\u0000e\\udb40\\udc01f\n\t")
    assert ("Ä" in text) == (encoding != "ascii")


def test_a_document_stays_one(capsys):
    echo(json.dumps({HOSTILE: "Ä"}, ensure_ascii=False))
    assert json.loads(capsys.readouterr().out) == {HOSTILE: "Ä"}
