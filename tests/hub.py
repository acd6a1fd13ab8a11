"""A server on this machine that speaks the protocol of the hub, as far as its clients read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def serving(root: Path, asked: list[str]) -> Iterator[str]:
    """Address of a hub whose models are the folders `root/OWNER/NAME`.

    Args:
        asked: Is told of each file that is fetched.
    """

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None: ...

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            parts = [part for part in urlsplit(self.path).path.split("/") if part]
            if parts[:2] == ["api", "models"]:
                self.tell(root.joinpath(*parts[2:4]), tree="tree" in parts)
            elif "resolve" in parts:
                self.file(root.joinpath(*parts[:2]), "/".join(parts[4:]))
            else:
                self.missing("RepoNotFound")

        def tell(self, folder: Path, tree: bool) -> None:
            """What the API says of a model: its commit, and its files."""
            if not folder.is_dir():
                return self.missing("RepoNotFound")
            files = sorted(p for p in folder.rglob("*") if p.is_file())
            names = [p.relative_to(folder).as_posix() for p in files]
            listed = [
                {"type": "file", "path": n, "size": p.stat().st_size, "oid": n}
                for n, p in zip(names, files, strict=True)
            ]
            siblings = [{"rfilename": name} for name in names]
            whole = {"id": "/".join(folder.parts[-2:]), "sha": COMMIT, "siblings": siblings}
            return self.send(json.dumps(listed if tree else whole).encode(), "application/json")

        def file(self, folder: Path, name: str) -> None:
            if not folder.is_dir():
                return self.missing("RepoNotFound")
            if not (folder / name).is_file():
                return self.missing("EntryNotFound")
            if self.command == "GET":
                asked.append(f"{folder.name}/{name}")
            return self.send((folder / name).read_bytes(), "application/octet-stream")

        def send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def missing(self, why: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", why)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
