"""OpenAI's chat completions: `POST /v1/chat/completions` and `GET /v1/models`."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from pscli.dialogue.reply import Caption
from pscli.dialogue.schema import Reply
from pscli.errors import DataError, PscliError
from pscli.files import parse_json, to_json
from pscli.serve.host import Done, Host, Hosts, Waits, log
from pscli.serve.limits import Busy
from pscli.serve.messages import dialogue_of, fault, images_of, message_of
from pscli.systems.chat import Chat

# What would change the form of an answer, and is not known here, with the value that asks for it.
UNKNOWN = ("tools", "functions", "logprobs", "response_format", "audio", "top_logprobs")
BEGAN = int(time.time())


class NoModel(DataError):
    """A model that is not served."""


@dataclass(frozen=True)
class Wish:
    """A request for a completion."""

    host: Host
    chat: Chat
    stream: bool


def routes(hosts: Hosts) -> APIRouter:
    """The endpoint, which asks the same agents by the same queues as the page."""
    router = APIRouter(prefix="/v1")

    @router.get("/models")
    async def models() -> Response:
        entries = [
            {"id": name, "object": "model", "created": BEGAN, "owned_by": "pscli"} for name in hosts
        ]
        return _json({"object": "list", "data": entries})

    @router.post("/chat/completions")
    async def completions(request: Request) -> Response:
        body = await request.body()
        try:
            wish = await asyncio.to_thread(wished, body, hosts)
            asked = wish.host.ask(wish.chat.answer)
            if wish.stream:
                first = await anext(asked)  # refused before anything is sent
                return StreamingResponse(
                    _chunks(wish, first, asked), media_type="text/event-stream"
                )
            async for part in asked:
                if isinstance(part, Done):
                    return _json(await asyncio.to_thread(completion, wish, part.value))
                if await request.is_disconnected():
                    await asked.aclose()
                    break
            return Response(status_code=499)  # nobody reads it
        except Exception as error:
            return refusal(error)

    return router


def wished(body: bytes, hosts: Hosts) -> Wish:
    """What a request asks for.

    Raises:
        NoModel, DataError: if it cannot be had.
    """
    pairs = parse_json(body, "The request")
    if not isinstance(pairs, dict):
        raise DataError("The request is no JSON object.", 'Expected {"messages": […]}.')
    name = pairs.get("model") or next(iter(hosts))
    if not isinstance(name, str) or name not in hosts:
        raise NoModel("There is no such model.", f"Known: {', '.join(hosts)}.")
    for key in UNKNOWN:
        if pairs.get(key) and pairs[key] != {"type": "text"}:
            raise DataError(f"{key} is not known here.", "Leave it out.")
    if pairs.get("n") not in (None, 1):
        raise DataError("n is not 1.", "Ask again for another answer.")
    chat = Chat(hosts[name].agent, dialogue_of(pairs.get("messages")), "assistant")
    chat.temperature = float(_number(pairs, "temperature", (int, float), 2))
    chat.seed = int(_number(pairs, "seed", (int,), (1 << 63) - 1))
    return Wish(hosts[name], chat, pairs.get("stream") is True)


def _number(pairs: dict[str, Any], key: str, types: tuple[type, ...], most: int) -> float:
    value = pairs.get(key)
    if value is None:
        return 0
    if type(value) not in types or not 0 <= value <= most:
        raise DataError(f"{key} is no number from 0 to {most}.", "Leave it out.")
    return value  # type: ignore[no-any-return]


def completion(wish: Wish, reply: Reply) -> dict[str, Any]:
    """An answer as a whole."""
    choice = {"index": 0, "message": message_of(reply), "finish_reason": "stop"}
    return _head(wish, "chat.completion") | {"choices": [choice]}


async def _chunks(wish: Wish, first: Any, asked: AsyncGenerator[Any, None]) -> AsyncIterator[str]:
    """An answer piece by piece: words as they are decoded, then its photos."""
    head = _head(wish, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], end: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": end}
        return f"data: {to_json(head | {'choices': [choice]}, indent=None)}\n\n"

    yield chunk({"role": "assistant", "content": ""})
    part = first
    try:
        while not isinstance(part, Done):
            if isinstance(part, Waits | Caption):
                yield ": wait\n\n"  # a comment, lest somebody think that the line is dead
            else:
                yield chunk({"content": part})
            part = await anext(asked)
        images = await asyncio.to_thread(images_of, part.value)
        if images:
            yield chunk({"images": images})
        yield chunk({"notes": list(part.value.notes)} if part.value.notes else {}, "stop")
        yield "data: [DONE]\n\n"
    except Exception as error:  # it is too late for a status
        yield f"data: {to_json(_fault(error)[1], indent=None)}\n\n"
    finally:
        await asked.aclose()


def _head(wish: Wish, kind: str) -> dict[str, Any]:
    name = f"chatcmpl-{secrets.token_hex(12)}"
    return {"id": name, "object": kind, "created": int(time.time()), "model": wish.host.name}


def refusal(error: Exception) -> JSONResponse:
    """An error in OpenAI's form, with its status."""
    status, pairs = _fault(error)
    return JSONResponse(pairs, status)


def _fault(error: Exception) -> tuple[int, dict[str, Any]]:
    if isinstance(error, Busy):
        return 429, fault(str(error), "rate_limit_error", "rate_limit_exceeded")
    if isinstance(error, NoModel):
        return 404, fault(str(error), code="model_not_found", param="model")
    if isinstance(error, PscliError):
        return 400, fault(str(error))
    log(error)
    return 500, fault("The agent failed; the server's log says why.", "server_error")


def _json(pairs: dict[str, Any]) -> Response:
    return Response(to_json(pairs, indent=None), media_type="application/json")
