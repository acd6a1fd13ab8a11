"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pscli.errors import CheckpointError
from pscli.files import claim, locked, new_folder


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


@pytest.mark.parametrize("name", [".", "..", "in/..", "../p"])
def test_a_folder_is_locked_beside_itself_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "p" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "p" / "in" if name == ".." else tmp_path / "p")
    with locked(Path(name), "writing"):
        assert (tmp_path / ".p.lock").exists()
        with (
            pytest.raises(CheckpointError, match="Another process is writing in"),
            locked(tmp_path / "p", "writing"),
        ):
            pass


def test_a_folder_that_is_a_link_is_filled_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "disk" / "a").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk" / "a")
    for text in ("old", "new"):
        fill(link, text)
        assert link.is_symlink() and (tmp_path / "disk" / "a" / "a").read_text() == text
    assert len(list(tmp_path.iterdir())) == 2 and len(list((tmp_path / "disk").iterdir())) == 1


def test_a_folder_that_is_gone_while_we_are_in_it_keeps_no_other_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with new_folder(tmp_path / "new") as folder:
        (folder / "a").touch()
    assert (tmp_path / "new" / "a").is_file()


def test_the_lock_of_a_folder_beside_which_nothing_may_be_written_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with locked(tmp_path / "home", "writing"):
        assert [p.name for p in (tmp_path / "home").iterdir()] == [".home.lock"]
        with (
            pytest.raises(CheckpointError, match="Another process"),
            locked(tmp_path / "home", "writing"),
        ):
            raise AssertionError


@pytest.mark.parametrize("name", [".", "..", "in/..", "mounted", "/"])
def test_what_no_other_folder_can_take_the_place_of_is_refused_before_it_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Not the folder in which we are, nor one above it, nor one where a disk is mounted."""
    (tmp_path / "p" / "in").mkdir(parents=True)
    (tmp_path / "p" / "mounted").mkdir()
    monkeypatch.chdir(tmp_path / "p" / "in" if name == ".." else tmp_path / "p")
    whole = os.path.ismount
    monkeypatch.setattr(
        os.path, "ismount", lambda path: Path(path).name == "mounted" or whole(path)
    )
    with pytest.raises(CheckpointError, match="cannot be replaced"), new_folder(Path(name)):
        raise AssertionError
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == ["in", "mounted"]
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_a_marker_of_somebody_else_gives_up_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mark").write_text("theirs")
    with pytest.raises(CheckpointError, match="its mark is not one of ours"):
        claim(tmp_path, "mark", True, ours=lambda mark: mark.read_text() == "ours")
    claim(tmp_path, "mark", True)
