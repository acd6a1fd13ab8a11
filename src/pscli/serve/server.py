"""The server: the page and the endpoint behind one guard."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from pscli.errors import ConfigError
from pscli.serve.host import Hosts, hosted
from pscli.serve.limits import ROOM
from pscli.serve.messages import fault


def check_installed() -> None:
    """Raises ConfigError if the extra `web` is not installed."""
    if find_spec("gradio") is None:
        raise ConfigError(
            "The page needs gradio, which is not installed.", "pip install 'pscli[web]'"
        )


@contextmanager
def serving(agents: Mapping[str, Any], token: str | None = None, hint: str = "") -> Iterator[Any]:
    """The page and the endpoint of some agents, as an ASGI application.

    Args:
        agents: By name; the first one is asked where none is named.
        token: Has to be known for every request.
        hint: What to try, where nothing was said yet.
    """
    with TemporaryDirectory(prefix="pscli-serve-") as folder:
        # Gradio keeps a folder of its own, and would ask its makers and the hub about this and
        # that.
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        from gradio import routes

        routes.__dict__["DEFAULT_TEMP_DIR"] = folder  # as it is if gradio was loaded before
        yield _application(hosted(agents), token, hint)


def _application(hosts: Hosts, token: str | None, hint: str) -> Any:
    import gradio as gr
    from fastapi import FastAPI, HTTPException, Request
    from fastapi.responses import JSONResponse, PlainTextResponse, Response
    from gradio.state_holder import SessionState

    from pscli.serve.api import routes
    from pscli.serve.guard import Guard
    from pscli.serve.page import page, theme, web

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(routes(hosts))

    @app.get("/kept/{name}")
    async def kept(name: str) -> Response:
        file = ROOM.get(name)
        if file is None:
            raise HTTPException(404, "It is not kept any more.")
        return Response(file.data, media_type=file.kind, headers={"cache-control": "no-store"})

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if request.url.path.startswith("/v1/"):
            return JSONResponse(fault(str(error.detail)), error.status_code)
        return PlainTextResponse(str(error.detail), error.status_code)

    # Gradio would keep whatever anybody sends, for links that are not open here.
    SessionState._update_value_in_config = lambda self, key, value: None  # type: ignore[method-assign]
    gr.mount_gradio_app(
        app, page(hosts, hint), path="/", theme=theme(),
        css=web("page.css"), footer_links=[], run_history=False, show_error=False,
        ssr_mode=False, pwa=False, mcp_server=False, enable_monitoring=False,
    )  # fmt: skip
    return Guard(app, token)


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for askers.

    Raises:
        ConfigError: if it cannot be had.
    """
    try:
        return socket.create_server((host, port), family=_family(host))
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened at: {error.strerror or error}.",
            "Name another --port (0 takes a free one), or another --host.",
        ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address(sock: socket.socket, token: str | None) -> str:
    """What a browser opens. The token in it is taken over by a cookie."""
    host, port = sock.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={quote(token)}" if token else "")


def run(app: Any, sock: socket.socket) -> None:
    """Answers until Ctrl-C, or until the process is told to end."""
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none",
        limit_concurrency=1000, timeout_keep_alive=30, timeout_graceful_shutdown=1,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").addFilter(_matters)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is open is closed then, too
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[sock])


def _matters(record: logging.LogRecord) -> bool:
    """Whether a line of the log tells of more than a page that was open at the end."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is not asyncio.CancelledError and "graceful" not in record.getMessage()
