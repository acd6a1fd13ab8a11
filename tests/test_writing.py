"""Files are written by `pscli.files` alone: atomically, locked, complete, without NaN.

But for tables of what can be computed again, which `pscli.rows` keeps.
"""

from __future__ import annotations

import re

from imports import ROOT

BY_HAND = re.compile(
    r"""\.tmp\b | os\.(replace|rename|truncate)\( | FileLock | json\.dump\(
    | \.write_(text|bytes)\( | \.open\(\s*["'][wax] | \bopen\([^)]*,\s*["'][wax]""",
    re.VERBOSE,
)


def test_nobody_else_writes_files_by_hand() -> None:
    texts = {p.relative_to(ROOT).as_posix(): p.read_text("utf-8") for p in ROOT.rglob("*.py")}
    assert {name for name, text in texts.items() if BY_HAND.search(text)} == {"files.py", "rows.py"}
