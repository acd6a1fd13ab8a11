"""What reaches a terminal: nothing that controls it, whatever it can show."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

import pscli
from pscli import console
from pscli.datasets.stats import count, survey
from pscli.dialogue.schema import Dialogue, Truth, Turn
from pscli.errors import DataError
from pscli.report.survey import table, table_1

EVIL = "a\x1b[2J\x07\r\x9b31m\u202eb\ud800\x7f"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tof → text é 狗", "two\nlines\tof → text é 狗"),
        ("\x1b[2Jx", "\\u001b[2Jx"),
        ("\x9b\r\x00\x7f", "\\u009b\\u000d\\u0000\\u007f"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("half \ud83d", "half \\ud83d"),
        ("Zoë 👩‍🚀 你好 עברית\tx\ny", "Zoë 👩‍🚀 你好 עברית\tx\ny"),
    ],
)
def test_controls_are_shown_as_json_writes_them(text: str, shown: str) -> None:
    assert console.plain(text) == shown


@given(st.text(st.characters(codec=None, categories=None)))
def test_nothing_that_is_printed_controls_a_terminal(text: str) -> None:
    shown = console.plain(text)
    assert not {unicodedata.category(c) for c in set(shown) - set("\n\t")} & {"Cc", "Cs"}
    assert json.loads(console.plain(json.dumps(text, ensure_ascii=False))) == text


def test_every_way_to_print_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    console.result(EVIL)
    console.note(EVIL)
    console.show_json({EVIL: EVIL})
    console.show_error(DataError(EVIL, EVIL))
    with console.progress(EVIL, 1) as advance:
        advance(1)
    cells = Table(EVIL, title=EVIL)
    cells.add_row(EVIL)
    console.show(cells)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) > 5
    for text in (out, err):
        assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in text.replace("\n", ""))
        assert "\u202e" not in text
    assert json.loads(out[out.index("{") : out.index("}") + 1]) == {EVIL: EVIL}


def test_an_own_kind_with_brackets_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    odd = Dialogue((Turn("A", "x"), Turn("B", "y", truth=Truth("[/odd] [red]"))), "d")
    console.show(table("[/name]", {"test": count([odd])}))
    out = capsys.readouterr().out
    assert "[/odd] [red]" in out
    assert "[/name]" in out


# ---------------------------------------------------------------------------- terminals


def printed(code: str, **env: str) -> str:
    """What the program would print, in bytes that are read as the encoding that was asked for."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(pscli.__file__).parents[1])} | env,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).decode(env.get("PYTHONIOENCODING", "utf-8"))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
@pytest.mark.parametrize(
    "line", ["--help", "train-e2e --help", "stats jsonl --from o", "fetch jsonl --from o --out d"]
)
def test_every_terminal_can_be_printed_to(tmp_path: Path, encoding: str, line: str) -> None:
    turns = [{"speaker": "A", "text": "Hi"}, {"speaker": "B", "photo": "nö→.png"}]
    (tmp_path / "o").mkdir()
    (tmp_path / "o/test.jsonl").write_text(json.dumps({"id": "d", "turns": turns}))
    code = f"""if True:
        import os, sys
        os.chdir({str(tmp_path)!r})
        from pscli.cli.app import main
        import pscli.cli
        sys.argv = ["pscli", *{line.split()!r}]
        main()
    """
    shown = printed(code, PYTHONIOENCODING=encoding)
    assert len(shown.splitlines()) > 3
    assert "?" not in shown.replace("n??.png", "")  # arrows and bars become something else


def test_arrows_and_bars_degrade() -> None:
    code = (
        "from pscli import console; console.fit_streams(); console.result('a → b – 3 × é\\ud800')"
    )
    assert printed(code, PYTHONIOENCODING="ascii") == "a -> b - 3 x ?\\ud800\n"
    assert printed(code, PYTHONIOENCODING="cp1252") == "a -> b – 3 × é\\ud800\n"
    assert printed(code, PYTHONIOENCODING="utf-8") == "a → b – 3 × é\\ud800\n"


def test_names_of_files_that_are_not_utf_8_can_be_printed() -> None:
    code = "import sys; from pscli import console; console.fit_streams(); print('x\\udcff.json')"
    assert printed(code) == "x?.json\n"


def test_pictures_are_shown_in_colours_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {"force_terminal": True, "color_system": "truecolor", "file": io.StringIO()}
    monkeypatch.delenv("NO_COLOR", raising=False)
    for options, pictures in [
        ({}, True), ({"no_color": True}, False), ({"color_system": None}, False),
        ({"force_terminal": False}, False),
    ]:  # fmt: skip
        monkeypatch.setattr(console, "stdout", Console(**{**shown, **options}))
        assert console.shows_pictures() is pictures
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(console, "stdout", Console(**shown))
    assert not console.shows_pictures()


def test_tables_of_stats_are_readable_at_80_columns() -> None:
    """With the figures of DialogCC, the largest dataset: no cell is cut or wrapped."""
    turns = tuple(Turn("AB"[i % 2], f"word{i}") for i in range(8))
    found = survey("dialogcc", {s: [Dialogue(turns)] for s in ("train", "dev", "test")})
    for stats in (*found.splits.values(), found.total):
        for name, value in {"dialogues": 83_370, "utterances": 677_390, "merged": 677_390}.items():
            object.__setattr__(stats, name, value)
        object.__setattr__(stats.paper, "utterances", 677_390)
    for shown in (table("dialogcc", found.splits | {"total": found.total}), table_1(found)):
        narrow, wide = (Console(width=w, file=io.StringIO()) for w in (80, 200))
        narrow.print(shown)
        wide.print(shown)
        lines = [text.file.getvalue().splitlines() for text in (narrow, wide)]  # type: ignore[attr-defined]
        assert [line.split() for line in lines[0]] == [line.split() for line in lines[1]]
        assert max(map(len, lines[0])) <= 80
        assert "…" not in narrow.file.getvalue()  # type: ignore[attr-defined]


def test_a_bar_tells_the_time_from_the_second_step_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: three steps of forty seconds are done, and seven are left."""
    file, now = io.StringIO(), [0.0]
    terminal = Console(file=file, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(terminal, "get_time", lambda: now[0])
    monkeypatch.setattr(console, "stderr", terminal)
    with console.progress("Drawing [red]", 10) as advance:
        for _ in range(3):
            now[0] += 40
            advance(1)
    last = file.getvalue().rpartition("\r")[2]
    assert "Drawing [red]" in last
    assert "3/10 0:02:00 0:04:40" in last
