"""What reaches a terminal."""

from __future__ import annotations

import json

import pytest

from pscli import console
from pscli.errors import DataError

HOSTILE = "a\x1b[2Jb\x07\r\x9b1m\x7f\u202e\u2066\ud83d"


def test_no_control_character_reaches_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    console.result(HOSTILE)
    console.note(HOSTILE)
    console.show_error(DataError(HOSTILE, HOSTILE))
    console.show_json({HOSTILE: 1})
    out, err = capfd.readouterr()
    escaped = r"a\u001b[2Jb\u0007\u000d\u009b1m\u007f\u202e\u2066\ud83d"
    assert out.splitlines()[0] == escaped
    assert err.splitlines() == [escaped, f"Error: {escaped}", escaped]
    assert (out + err).replace("\n", "").isprintable()
    assert json.loads(out.partition("\n")[2]) == {HOSTILE: 1}  # nothing is lost in JSON


def test_what_people_write_is_left_as_it_is() -> None:
    text = "Zoë 👩‍🚀 你好 עברית\tx\ny"
    assert console.plain(text) == text
