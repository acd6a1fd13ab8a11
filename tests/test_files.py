"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pscli.files import new_folder


def fill(folder: Path, text: str) -> None:
    with new_folder(folder) as new:
        (new / "a").write_text(text)


@pytest.mark.parametrize("dies", [False, True])
def test_a_folder_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    """Of the two renames the second fails; or nothing comes after the first, as in a power cut."""
    folder = tmp_path / "f"
    fill(folder, "old")
    if dies:
        os.replace(folder, tmp_path / ".f.old")
    else:
        rename = os.replace

        def fails(source: Path, target: Path) -> None:
            if source.name == ".f.tmp":
                raise PermissionError
            rename(source, target)

        monkeypatch.setattr(os, "replace", fails)
        with pytest.raises(PermissionError):
            fill(folder, "new")
        monkeypatch.setattr(os, "replace", rename)
        assert (folder / "a").read_text() == "old"
    with pytest.raises(KeyError), new_folder(folder):
        raise KeyError
    assert (folder / "a").read_text() == "old"
    fill(folder, "new")
    assert (folder / "a").read_text() == "new" and len(list(tmp_path.iterdir())) == 1
