"""A server of stand-in agents on this machine, and how it is asked."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import uvicorn
from PIL import Image

from pscli.serve.server import listen, serving


@contextmanager
def server(agents: Mapping[str, Any], token: str | None = None) -> Iterator[Client]:
    """Serves until the end, in a thread."""
    with listen("127.0.0.1", 0) as sock, serving(agents, token) as app:
        config = uvicorn.Config(
            app, log_level="error", access_log=False, ws="none", timeout_graceful_shutdown=1
        )
        serves = uvicorn.Server(config)
        thread = threading.Thread(target=serves.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        while not serves.started:
            time.sleep(0.01)
        yield Client(sock.getsockname()[1])
        serves.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


class Answer:
    """What the server said."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.body = response.status, response.read()
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]


class Client:
    """Asks the server at a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.address = f"http://127.0.0.1:{port}/"

    def ask(self, path: str, body: Any = None, method: str = "", **headers: str) -> Answer:
        """Args: body: Bytes as they are, or a JSON value."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        names |= {"Content-Type": "application/json"} if data else {}
        line.request(method or ("POST" if data else "GET"), path, data, names)
        try:
            return Answer(line.getresponse())
        finally:
            line.close()

    def complete(self, *messages: Any, **wishes: Any) -> Answer:
        """A completion. Messages that are no objects are the user's content."""
        said = [m if isinstance(m, dict) else {"role": "user", "content": m} for m in messages]
        return self.ask("/v1/chat/completions", {"messages": said, **wishes})


class Visitor:
    """Somebody who uses the page, by the calls that a browser makes."""

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.name = client, name
        page = client.ask("/config").json
        self._parts = {part["id"]: part for part in page["components"]}
        self._does = {entry["api_name"]: entry for entry in page["dependencies"]}
        self.values = {id: part["props"].get("value") for id, part in self._parts.items()}

    def part(self, label: str) -> int:
        return next(id for id, part in self._parts.items() if part["props"].get("label") == label)

    def use(self, name: str, **given: Any) -> str:
        """Does what a button does, and returns the HTML that is shown then.

        Args:
            given: What stands in boxes, by their labels.
        """
        event = self._does[name]
        for label, value in given.items():
            self.values[self.part(label)] = value
        data = [self.values[id] for id in event["inputs"]]
        return self.send(event, data)

    def says(self, text: str) -> str:
        """Says something, and returns the HTML that is shown when it was answered."""
        self.use("on_send", Message=text)
        return self.use("on_answer")

    def send(self, event: Any, data: list[Any]) -> str:
        """Sends just this, whatever it is."""
        body = {"data": data, "fn_index": event["id"], "session_hash": self.name}
        joined = self.client.ask("/gradio_api/queue/join", body)
        assert joined.status == 200, joined.body
        told = self.client.ask(f"/gradio_api/queue/data?session_hash={self.name}").body.decode()
        lines = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
        last = next(line for line in reversed(lines) if line["msg"] == "process_completed")
        assert last["success"], last
        for line in lines:
            self._shows(event, line.get("output", {}).get("data") or [])
        parts = (id for id, part in self._parts.items() if part["type"] == "html")
        return "\n".join(str(self.values[id]) for id in parts)

    def event(self, name: str) -> Any:
        return self._does[name]

    def _shows(self, event: Any, outputs: list[Any]) -> None:
        for id, new in zip(event["outputs"], outputs, strict=False):
            if isinstance(new, dict) and new.get("__type__") == "update":
                if "value" in new:
                    self.values[id] = new["value"]
            elif not isinstance(new, list):  # what changed of a long text, which we do not follow
                self.values[id] = new


def picture(colour: str = "red", size: tuple[int, int] = (8, 6), form: str = "PNG") -> bytes:
    """An image file."""
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def address(data: bytes, kind: str = "image/png") -> str:
    """The `data:` address of a file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def shown(data: bytes | str, kind: str = "image/png") -> dict[str, Any]:
    """A photo as a part of a message. Args: data: A file, or its address."""
    url = data if isinstance(data, str) else address(data, kind)
    return {"type": "image_url", "image_url": {"url": url}}
