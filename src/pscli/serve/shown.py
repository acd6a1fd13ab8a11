"""What was said, as HTML: whatever anybody wrote stands there as text, and photos as photos."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from pscli.dialogue.schema import Photo, Turn
from pscli.errors import PscliError
from pscli.serve.limits import Kept
from pscli.serve.talks import Live, Side

BUBBLE = Markup('<div class="turn {}"><span class="who">{}</span>{}</div>')
FIGURE = Markup(
    '<figure><button type="button" class="photo" aria-label="Enlarge: {0}" title="Enlarge">'
    '<img src="kept/{1}" alt="{0}"></button>{2}</figure>'
)


def talk(side: Side, hint: str = "") -> str:
    """All that was said to and by an agent. Args: hint: What to try, where nothing was."""
    turns = side.chat.dialogue.turns
    shown = Markup("").join(_turn(turn, turn.speaker == side.chat.me) for turn in turns)
    if not turns:
        shown = Markup('<p class="hint">{}</p>').format(hint)
    notes = Markup("").join(Markup('<p class="note">{}</p>').format(note) for note in side.notes)
    return str(
        Markup('<h2>{}</h2><div role="log" aria-label="The talk with {}">{}</div>{}').format(
            side.host.name, side.host.name, shown, notes
        )
    )


def live(side: Side, now: Live | None) -> str:
    """The reply that is being written."""
    if now is None and side.waiting is None:
        return ""
    words = [now.words] if now and now.words else []
    if now is None:
        state = "It would draw what stands below: change it if you like."
    elif now.waits:
        state = f"{now.waits} before you …"
    else:
        state = "Drawing …" if now.captions else "" if words else "Thinking …"
    captions = now.captions if now else ()
    lines = [*_paragraphs(words), *map(_captioned, captions)]
    lines += [Markup('<p class="state">{}</p>').format(state)] if state else []
    return str(BUBBLE.format("theirs now", side.chat.speaker, Markup("").join(lines)))


def told(error: Exception) -> str:
    """An error, as a line that is read aloud."""
    what = str(error) if isinstance(error, PscliError) else "The agent failed."
    return str(Markup('<p class="error" role="alert">{}</p>').format(what))


def _turn(turn: Turn, mine: bool) -> Markup:
    parts = [*_paragraphs([turn.text]), *([_figure(turn.photo)] if turn.photo else [])]
    return BUBBLE.format("mine" if mine else "theirs", turn.speaker, Markup("").join(parts))


def _paragraphs(texts: Sequence[str]) -> list[Markup]:
    return [Markup("<p>{}</p>").format(text) for text in texts if text]


def _captioned(caption: str) -> Markup:
    return Markup('<p class="caption">{}</p>').format(caption)


def _figure(photo: Photo) -> Markup:
    assert isinstance(photo.source, Kept)  # as all photos of a talk are
    name = photo.caption or "a photo"
    caption = Markup("<figcaption>{}</figcaption>").format(name) if photo.caption else escape("")
    return FIGURE.format(name, photo.source.name, caption)
