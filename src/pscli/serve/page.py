"""The page: Gradio's components around what `talks` does and `shown` shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from importlib.resources import files
from typing import Any

import gradio as gr

from pscli.errors import DataError
from pscli.serve import limits, shown
from pscli.serve.host import Hosts, log
from pscli.serve.talks import Live, Side, Talk

WEB = files("pscli.serve") / "web"
NONE = "none"
HINT = "Say something, or show a photo."
IDLE = 24 * 3600  # seconds after which a talk is forgotten; an hour after its page was closed
VISITORS = 500  # whose talks are kept; who was away for longest goes first
PHOTO = f"""<div class="photo-picker" data-most="{limits.MAX_BYTES}">
<label class="pick">Photo<input type="file" accept="image/*"></label>
<span class="chosen" hidden><img alt="The photo that goes with what you say next">
<button type="button" aria-label="Leave the photo out">×</button></span>
<p class="error" role="alert" hidden>More than {limits.MAX_BYTES >> 20} MiB are not taken.</p>
</div>"""
FILE = f"""<label class="pick">Load<input type="file" accept=".json,application/json"
data-most="{limits.MAX_BODY}"></label>"""


def theme() -> Any:
    """Colours and the fonts of the reader's own system: none is fetched."""
    fonts = ["system-ui", "sans-serif"]
    base = gr.themes.Base(
        primary_hue="teal", neutral_hue="stone", radius_size="lg", font=fonts,
        font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip
    fill = {"button_primary_background_fill": "*primary_700"}  # white on it can be read
    fill["button_primary_background_fill_hover"] = "*primary_800"
    return base.set(**fill, **{f"{name}_dark": colour for name, colour in fill.items()})


def web(name: str) -> str:
    """A file of the page."""
    return (WEB / name).read_text(encoding="utf-8")


def page(hosts: Hosts, hint: str = "") -> Any:
    """The page. Args: hint: What to try, where nothing was said yet."""
    with gr.Blocks(title="pscli", analytics_enabled=False, fill_width=True) as blocks:
        Page(hosts, hint or HINT)
    blocks.state_session_capacity = VISITORS
    blocks.queue(max_size=256, default_concurrency_limit=None, api_open=False)
    return blocks


class Page:
    """Components, and what happens when they are used."""

    def __init__(self, hosts: Hosts, hint: str) -> None:
        self.hosts, self.hint = hosts, hint
        self.talk = gr.State(time_to_live=IDLE)
        self._head()
        with gr.Row(elem_classes="sides"):
            sides = [self._side(n) for n in range(2)]
        self.columns, self.talks, self.lives, self.captions, self.draws, self.rows = zip(
            *sides, strict=True
        )
        self.status = gr.HTML(elem_classes="status")
        self._composer()
        self._listen()

    # -- components ----------------------------------------------------------------------------

    def _head(self) -> None:
        names = list(self.hosts)
        with gr.Row(elem_classes="head"):
            gr.HTML("<h1>pscli</h1>", min_width=90, scale=0)
            self.agent = gr.Dropdown(names, value=names[0], label="Agent", min_width=150)
            self.beside = gr.Dropdown(
                [NONE, *names], value=NONE, label="Beside it", min_width=150,
                visible=len(names) > 1,
            )  # fmt: skip
            self.me = gr.Radio(["A", "B"], value="A", label="You speak as", min_width=150)

        with gr.Accordion("How it answers and draws", open=False, elem_classes="drawing"):
            self.asks = gr.Checkbox(label="Let me see captions before they are drawn")
            with gr.Row():
                self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=100)
                self.best_of = gr.Slider(
                    1, 8, 1, step=1, label="Drawings, of which the best is kept", min_width=200
                )
                self.temperature = gr.Slider(
                    0, 2, 0, step=0.1, label="Temperature of words", min_width=200
                )

    def _side(self, number: int) -> tuple[Any, ...]:
        with gr.Column(visible=number == 0, min_width=300) as column:
            first = shown.talk(self._new().sides[0], self.hint)
            talk = gr.HTML(first, elem_classes="talk")
            live = gr.HTML(elem_classes="talk")
            with gr.Row(visible=False, elem_classes="redraw") as row:
                caption = gr.Textbox(
                    label="Caption", lines=1, max_lines=4, max_length=limits.MAX_TEXT, scale=4,
                    min_width=160,
                )  # fmt: skip
                draw = gr.Button("Redraw", scale=1, min_width=90)
        return column, talk, live, caption, draw, row

    def _composer(self) -> None:
        with gr.Column(elem_classes="composer"):
            with gr.Row(elem_classes="say"):
                self.photo = gr.HTML(
                    html_template=PHOTO, js_on_load=web("page.js"), scale=0, min_width=100
                )
                self.text = gr.Textbox(
                    label="Message", show_label=False, placeholder="Say something", lines=1,
                    max_lines=6, max_length=limits.MAX_TEXT, autofocus=True, scale=8,
                    min_width=160, container=False,
                )  # fmt: skip
                self.send = gr.Button("Send", variant="primary", scale=1, min_width=80)
                self.stop = gr.Button("Stop", scale=1, min_width=80, visible=False)
            with gr.Row(elem_classes="tools"):
                self.undo = gr.Button("Undo", size="sm", min_width=70)
                self.new = gr.Button("New", size="sm", min_width=70)
                self.save = gr.Button("Save", size="sm", min_width=70)
                self.file = gr.HTML(
                    html_template=FILE, js_on_load=web("file.js"), scale=1, min_width=70
                )
                self.saved = gr.Textbox(visible=False)

    # -- events --------------------------------------------------------------------------------

    def _listen(self) -> None:
        seats = [self.talk, self.agent, self.beside, self.me]
        drawing = [self.seed, self.best_of, self.temperature]
        self.all = [
            self.talk, self.me, self.text, self.photo, self.status, self.send, self.stop,
            *self.columns, *self.talks, *self.lives, *self.captions, *self.draws, *self.rows,
        ]  # fmt: skip
        how: Any = {"outputs": self.all, "show_progress": "hidden", "api_visibility": "private"}
        gr.on(
            [self.send.click, self.text.submit], self.on_send,
            [*seats, *drawing, self.text, self.photo], **how,
        ).then(self.on_answer, [self.talk, self.asks], **how)  # fmt: skip
        for number, button in enumerate(self.draws):
            boxed = [*seats, *drawing, self.captions[number]]
            button.click(self._on_draw(number), boxed, **how)
        self.stop.click(self.on_stop, [self.talk], api_visibility="private")
        boxes: list[Any] = seats[1:]
        gr.on([box.input for box in boxes], self.on_change, seats, **how)
        self.undo.click(self.on_undo, seats, **how)
        self.new.click(self.on_new, seats, **how)
        self.file.upload(self.on_load, [*seats, self.file], **how)
        self.save.click(
            self.on_save, seats, [self.saved, self.status], show_progress="hidden",
            api_visibility="private",
        ).success(None, [self.saved], js=web("save.js"), api_visibility="private")  # fmt: skip

    def _new(self) -> Talk:
        talk = Talk()
        talk.seat(self.hosts, [], "A")
        return talk

    def _seated(self, talk: Talk | None, *seats: Any) -> Talk:
        """The visitor's talk, as the agents and the speaker were chosen."""
        agent, beside, me = seats
        talk = talk or self._new()
        if talk.busy:
            raise limits.Busy("An answer is on its way.", "Wait for it, or stop it.")
        talk.seat(self.hosts, [agent, beside], me)
        return talk

    async def on_send(
        self, talk: Talk | None, agent: Any, beside: Any, me: Any, seed: Any, best_of: Any,
        temperature: Any, text: Any, photo: Any,
    ) -> dict[Any, Any]:  # fmt: skip
        try:
            talk = self._seated(talk, agent, beside, me)
            talk.set(seed, best_of, temperature)
            await asyncio.to_thread(talk.say, text, photo)
        except Exception as error:
            refused = {self.photo: ""} if isinstance(error, DataError) and photo else {}
            return self._told(error) | refused
        return self._shown(talk) | {self.text: "", self.photo: ""} | self._running(True)

    async def on_answer(self, talk: Talk | None, asks: Any) -> AsyncGenerator[dict[Any, Any], None]:
        """What follows where something was said."""
        asked, talk = talk.asked if talk else [], talk or self._new()
        talk.asked = []
        async with aclosing(
            self._while(talk, asked, lambda side: talk.answer(side, bool(asks)))
        ) as updates:
            async for update in updates:
                yield update

    def _on_draw(self, number: int) -> Any:
        async def on_draw(
            talk: Talk | None, agent: Any, beside: Any, me: Any, seed: Any, best_of: Any,
            temperature: Any, caption: Any,
        ) -> AsyncGenerator[dict[Any, Any], None]:  # fmt: skip
            try:
                talk = self._seated(talk, agent, beside, me)
                talk.set(seed, best_of, temperature)
                side = talk.sides[number]
            except Exception as error:
                yield self._told(error)
                return
            async with aclosing(
                self._while(talk, [side], lambda side: talk.redraw(side, caption))
            ) as updates:
                async for update in updates:
                    yield update

        return on_draw

    async def _while(
        self, talk: Talk, sides: Sequence[Side], does: Callable[[Side], AsyncGenerator[Live, None]]
    ) -> AsyncGenerator[dict[Any, Any], None]:
        """What is shown while agents answer or draw, one after another, and after it.

        A browser may leave out all but the last of what comes at once, so all say that it runs.
        """
        if not sides:
            yield {self.send: gr.skip()}
            return
        talk.busy, talk.stopped = True, False
        try:
            for side in sides:
                if talk.stopped:
                    break
                number = talk.sides.index(side)
                live, hides = self.lives[number], {self.rows[number]: gr.update(visible=False)}
                runs = self._running(True) | hides
                yield self._shown(talk) | {live: shown.live(side, Live())} | runs
                async with aclosing(talk.until_stopped(does(side))) as moments:
                    async for moment in moments:
                        yield {live: shown.live(side, moment)} | runs
            talk.busy = False
            yield self._shown(talk)
        except Exception as error:
            talk.busy = False
            yield self._shown(talk) | self._told(error)
        finally:
            talk.busy = False

    async def on_stop(self, talk: Talk | None) -> None:
        """What runs stops, and then shows what was said."""
        if talk:
            talk.stop()

    def on_change(self, talk: Talk | None, *seats: Any) -> dict[Any, Any]:
        return self._done(lambda talk: None, talk, seats)

    def on_undo(self, talk: Talk | None, *seats: Any) -> dict[Any, Any]:
        return self._done(Talk.undo, talk, seats)

    def on_new(self, talk: Talk | None, *seats: Any) -> dict[Any, Any]:
        return self._done(lambda talk: None, None, seats)

    def on_load(self, talk: Talk | None, *seats_and_file: Any) -> dict[Any, Any]:
        *seats, file = seats_and_file
        return self._done(lambda talk: talk.load(limits.from_file(file)), talk, seats)

    def on_save(self, talk: Talk | None, *seats: Any) -> dict[Any, Any]:
        try:
            saved = json.dumps(self._seated(talk, *seats).save())
        except Exception as error:
            return {self.saved: "", self.status: shown.told(error)}
        return {self.saved: saved, self.status: ""}

    # -- what is shown -------------------------------------------------------------------------

    def _done(self, does: Any, talk: Talk | None, seats: Any) -> dict[Any, Any]:
        try:
            seated = self._seated(talk, *seats)
            does(seated)
        except Exception as error:
            return self._told(error)
        return self._shown(seated)

    def _shown(self, talk: Talk) -> dict[Any, Any]:
        """All of a talk."""
        chat = talk.sides[0].chat
        names = [chat.me, chat.speaker]
        if chat.dialogue.turns and chat.dialogue.turns[0].speaker == chat.speaker:
            names.reverse()
        new: dict[Any, Any] = {
            self.talk: talk, self.status: "", **self._running(False),
            self.me: gr.update(choices=sorted(names), value=chat.me),
        }  # fmt: skip
        for number, column in enumerate(self.columns):
            side = talk.sides[number] if number < len(talk.sides) else None
            new[column] = gr.update(visible=side is not None)
            if side is None:
                continue
            new[self.talks[number]] = shown.talk(side, self.hint)
            new[self.lives[number]] = shown.live(side, None)
            new[self.captions[number]] = side.caption or ""
            new[self.draws[number]] = "Draw" if side.waiting is not None else "Redraw"
            new[self.rows[number]] = gr.update(visible=side.caption is not None)
        return new

    def _running(self, runs: bool) -> dict[Any, Any]:
        return {self.send: gr.update(visible=not runs), self.stop: gr.update(visible=runs)}

    def _told(self, error: Exception) -> dict[Any, Any]:
        log(error)
        return {self.status: shown.told(error)}
