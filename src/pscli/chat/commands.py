"""What lines of a talk do: they are said, or they are commands."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pscli import console
from pscli.chat import pictures
from pscli.chat.saved import files_of, listed, save
from pscli.chat.screen import Screen, named, show_notes, show_reply, told
from pscli.chat.typing import Lines, path_of, paths
from pscli.config import MAX_DRAWINGS
from pscli.dialogue.schema import Photo, Reply
from pscli.errors import ConfigError, DataError, PscliError
from pscli.predictions.generate import read_dialogue, save_photos
from pscli.systems.chat import Chat

HELP = {
    "/photo": "PATH       show a photo, with what you say next",
    "/redraw": "[CAPTION] draw the agent's last photo anew, or what you say",
    "/undo": "           take back what you said last, and all after it",
    "/speaker": "[NAME]   change sides, or make the agent another one",
    "/seed": "N           of the photos to come",
    "/best-of": "N        draw photos so often; the agent's own eyes choose",
    "/save": "FILE        save the talk as JSON, photos beside it",
    "/load": "FILE        go on with a talk",
    "/help": "            this",
    "/quit": "            leave; so does Ctrl-D",
}
PATHS = ("/photo", "/save", "/load")  # commands of a path
RECALLED = 6  # turns that are shown of a talk that goes on


class Talk:
    """A talk, line by line.

    Args:
        out: Folder of the photos that are drawn.
        line: Prints a line of results.
        streams: Whether words are shown while they are written.
    """

    def __init__(
        self,
        chat: Chat,
        out: Path,
        *,
        line: Callable[[str], None] = console.result,
        streams: bool = False,
    ) -> None:
        self.chat, self.out = chat, out
        self._drawn: list[tuple[Photo, Path]] = []
        self._line, self._streams = line, streams
        self._shown: Photo | None = None  # goes with what is said next
        self._file: Path | None = None  # that is ours to overwrite

    # -- the loop ----------------------------------------------------------------------------

    def run(self, lines: Lines) -> None:
        """Takes lines until there are no more.

        Raises:
            PscliError, KeyboardInterrupt: without a terminal; in one, the talk goes on.
        """
        while True:
            try:
                prompt = f"{named(self.chat.me)}{' [photo]' if self._shown else ''}: "
                if not self.take(lines.read(prompt)):
                    return
            except EOFError:
                if lines.terminal:
                    console.note("")
                return
            except KeyboardInterrupt:
                if not lines.terminal:
                    raise
                console.note("\nStopped; /quit leaves.")
            except (PscliError, OSError) as error:
                if not lines.terminal:
                    raise
                told = error if isinstance(error, PscliError) else DataError(str(error))
                console.show_error(told)

    def take(self, line: str) -> bool:
        """Does what a line says; False at the end of the talk."""
        text = line.strip()
        if text.startswith("/"):
            name, _, rest = text.partition(" ")
            return self._command(name, rest.strip())
        if text or self._shown:
            self.chat.add(text, self._shown)
            self._shown = None
            self.answer()
        elif self._waits():
            self.answer()
        return True

    def _waits(self) -> bool:
        """Whether it is the agent's turn."""
        said = self.chat.dialogue.responses
        return bool(said) and said[-1].speaker != self.chat.speaker

    # -- replies -----------------------------------------------------------------------------

    def answer(self) -> None:
        """Lets the agent answer, and shows it. Stopped, it has said what it had said by then."""
        screen = Screen(named(self.chat.speaker))
        try:
            reply = self.chat.answer(screen.tell if self._streams else None)
        except KeyboardInterrupt:
            screen.end_line()
            stopped = Reply((screen.words.strip(),) if screen.words else ())
            self.chat.dialogue = self.chat.dialogue.said(stopped, self.chat.speaker)
            raise
        screen.end_line()
        files = self._save(reply)
        if screen.first is not None:
            for file, photo in zip(files, reply.photos, strict=True):
                console.result(f"→ {file}")
                pictures.show(photo)
            show_notes(reply)
        else:
            show_reply(reply, files, self._line)
        first = "" if screen.first is None else f"{screen.first:.1f} s to the first word, "
        console.note(f"({first}{screen.seconds:.1f} s)")

    def _save(self, reply: Reply) -> list[Path]:
        """Files of a reply's photos, which are written."""
        files = save_photos(reply, self.out)
        photos = (part for part in reply.parts if isinstance(part, Photo))
        self._drawn += zip(photos, files, strict=True)
        return files

    def to_json(self) -> dict[str, Any]:
        """The talk in the form that `generate --context` reads."""
        said = self.chat.dialogue
        files = [file for sent in said.photos for photo, file in self._drawn if photo is sent]
        unlike = files_of(self.chat.unlike)
        return {"id": said.id, "turns": listed(said, files), "unlike": unlike}

    # -- commands ----------------------------------------------------------------------------

    def _command(self, name: str, rest: str) -> bool:
        if name not in HELP:
            near = difflib.get_close_matches(name, HELP, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(f"There is no command {name}.{guess}", "/help lists them.")
        if name == "/quit":
            return False
        if name in (*PATHS, "/seed", "/best-of") and not rest:
            raise ConfigError(f"{name} of what?", f"{name} {' '.join(HELP[name].split())}.")
        does: Callable[[str], None] = getattr(self, name[1:].replace("-", "_"))
        does(rest)
        return True

    def photo(self, path: str) -> None:
        self._shown = None
        photo = Photo(path_of(path).absolute())
        image = photo.open()
        self._shown = photo
        pictures.show(image)
        for note in self.chat.flagged(Reply(()), [photo]).notes:
            console.note(f"Note: {note}")
        console.note("It goes with what you say next.")

    def redraw(self, caption: str) -> None:
        photo = self.chat.redraw(caption or None)
        show_reply(Reply((photo,)), self._save(Reply((photo,))), self._line)

    def undo(self, rest: str) -> None:
        if not self.chat.undo():
            raise ConfigError("Nothing was said yet.")
        console.note("Taken back.")
        self.recall(1)

    def speaker(self, name: str) -> None:
        self.chat.turn_to(name or None)
        self.greet()

    def seed(self, number: str) -> None:
        self.chat.seed = _number("/seed", number)

    def best_of(self, number: str) -> None:
        wanted = max(1, _number("/best-of", number))
        if wanted > MAX_DRAWINGS:
            raise ConfigError(f"/best-of is '{number}'.", f"Expected 1 to {MAX_DRAWINGS:,}.")
        self.chat.best_of = wanted

    def save(self, path: str) -> None:
        file = path_of(path)
        if file.exists() and file.absolute() != self._file:
            raise DataError(f"{file} is there already.", "Choose another name.")
        save(self.chat.dialogue, file)
        self._file = file.absolute()
        console.note(f"Saved: pscli generate --context {file} reads it, too.")

    def load(self, path: str) -> None:
        file = path_of(path)
        self.chat.go_on(read_dialogue(file))
        self._file, self._shown = file.absolute(), None
        self.recall(RECALLED)
        self.greet()

    def help(self, rest: str) -> None:
        for name, what in HELP.items():
            console.note(f"{name} {what}")
        console.note("An empty line lets the agent speak where it is its turn.")

    # -- what was said -----------------------------------------------------------------------

    def greet(self) -> None:
        """Says who is who."""
        console.note(f"You are {named(self.chat.me)}, {named(self.chat.speaker)} is the agent.")
        if self._waits():
            console.note("It is the agent's turn: Enter lets it speak.")

    def recall(self, count: int) -> None:
        """Shows the last turns."""
        turns = self.chat.dialogue.turns
        if len(turns) > count:
            console.note(f"… {len(turns) - count} turns before …")
        for turn in turns[-count:]:
            self._line(told(turn))


def _number(name: str, text: str) -> int:
    """Raises ConfigError if it is none."""
    if not text.isdecimal() or len(text) > 18:
        raise ConfigError(f"{name} is '{text}'.", f"Expected a number, such as {name} 7.")
    return int(text)


def completions(line: str) -> list[str]:
    """Whole lines that a line may become: commands, and paths after those that want one."""
    name, space, begun = line.partition(" ")
    if not space:
        return [f"{known} " for known in HELP if line and known.startswith(line)]
    return [f"{name} {path}" for path in paths(begun)] if name in PATHS else []
