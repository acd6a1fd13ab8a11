"""Terminals for tests: the program runs in a pseudo-terminal of its own, and is typed to."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable

from rich.console import Console
from rich.default_styles import DEFAULT_STYLES
from rich.style import Style

from pscli import console

COLOURS = {  # what a terminal says that it can show
    "24-bit": {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
    "256": {"TERM": "xterm-256color"},
    "16": {"TERM": "xterm-16color"},
    "no-color": {"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"},
    "dumb": {"TERM": "dumb"},
}
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SECONDS = 90.0  # that a busy machine may take for a line


class Terminal:
    """A program in a terminal: this process goes on as a child, so that nothing is loaded twice.

    Args:
        program: What the child does.
        rows: Few, so that photos are small.
        typed: Before anything is asked for, such as what the terminal says of itself.
    """

    def __init__(
        self,
        program: Callable[[], object],
        kind: str = "24-bit",
        columns: int = 80,
        rows: int = 10,
        typed: str = "",
    ) -> None:
        self.text, self._seen = "", 0
        # A read may end within a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.child, self._file = pty.fork()
        if self.child == 0:
            self._be(program, kind, columns, rows)
        self.code: int | None = None
        self.type(typed)

    def _be(self, program: Callable[[], object], kind: str, columns: int, rows: int) -> None:
        code: object = 1
        with contextlib.suppress(BaseException):  # the child must never go on as the parent
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            size = struct.pack("HHHH", rows, columns, 10 * columns, 20 * rows)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES"):
                os.environ.pop(name, None)
            os.environ.update(COLOURS[kind])
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
            _forget_codes()
            console.stdout, console.stderr = Console(), Console(stderr=True)
            try:
                program()
                code = 0
            except SystemExit as error:
                code = error.code
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)

    def until(self, text: str) -> str:
        """What is printed until `text` comes, from where the last one came."""
        end = time.monotonic() + SECONDS
        while text not in self.text[self._seen :]:
            assert time.monotonic() < end and self._read(), (
                f"no {text!r} in {self.text[self._seen :]!r}"
            )
        stop = self.text.index(text, self._seen) + len(text)
        shown, self._seen = self.text[self._seen : stop], stop
        return shown

    def type(self, keys: str) -> None:
        os.write(self._file, keys.encode())

    def say(self, line: str, prompt: str = "A: ") -> str:
        """Types a line, and returns what is printed until the program asks for the next one."""
        self._seen = len(self.text)
        self.type(line + "\n")
        return self.wait(prompt, lines=2)

    def wait(self, prompt: str = "A: ", lines: int = 1) -> str:
        """What is printed until the program asks for a line, in that many lines at least.

        The prompt is drawn again when a line is read; so it asks once nothing more comes.
        """
        end = time.monotonic() + SECONDS
        while not self._asks(prompt, lines) or self._more(0.2):
            assert time.monotonic() < end and self._read(), f"in {self.text[self._seen :]!r}"
        printed, self._seen = self.text[self._seen :], len(self.text)
        return printed

    def _asks(self, prompt: str, lines: int) -> bool:
        shown = plain(self.text[self._seen :]).split("\n")
        return len(shown) >= lines and shown[-1].endswith(prompt)

    def _more(self, seconds: float) -> bool:
        return bool(select.select([self._file], [], [], seconds)[0])

    def end(self, keys: str = "") -> str:
        """All that was printed, once the program has ended; `code` is its exit status."""
        self.type(keys)
        while self._read():
            pass
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        os.close(self._file)
        return self.text

    def _read(self) -> bool:
        if not self._more(0.5):
            return True
        try:
            data = os.read(self._file, 1 << 16)
        except OSError:  # the child has closed it
            return False
        self.text += self._decoder.decode(data)
        return bool(data)


def plain(text: str) -> str:
    """What one reads, without colours and movements."""
    return SEQUENCE.sub("", text).replace("\r", "")


def _forget_codes() -> None:
    """A style of Rich keeps the codes of the first terminal that it was shown in; this is another
    one than that of earlier tests in this process."""
    for style in DEFAULT_STYLES.values():
        style._ansi = None
    Style.parse.cache_clear()
    Style._add.cache_clear()
