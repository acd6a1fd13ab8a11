"""A server on this machine that speaks the protocol of the hub, as far as its clients read."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def serving(root: Path, asked: list[str]) -> Iterator[str]:
    """Address of a hub whose models are the folders `root/OWNER/NAME`.

    Args:
        asked: Is told of each file that is fetched.
    """

    address = ""
    private: set[Path] = set()

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None: ...

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            """A new model, and what a commit consists of: small files in it, large ones before."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parts = [part for part in urlsplit(self.path).path.split("/") if part]
            if self.headers.get("Authorization") != "Bearer token":
                self.missing("", 401)
            elif parts == ["api", "repos", "create"]:
                pairs = json.loads(body)
                folder = root / pairs["organization"] / pairs["name"]
                if "private" in pairs.values() and not folder.exists():
                    private.add(folder)
                folder.mkdir(parents=True, exist_ok=True)
                self.say({"url": f"{address}/{pairs['organization']}/{pairs['name']}"})
            elif parts == ["api", "validate-yaml"]:
                header = yaml.safe_load(json.loads(body)["content"].split("---")[1])
                self.say({"errors": [], "warnings": []} if header["license"] else {})
            elif "preupload" in parts:
                names = [file["path"] for file in json.loads(body)["files"]]
                self.say({"files": [
                    {"path": n, "uploadMode": "lfs" if n.endswith(".safetensors") else "regular",
                     "shouldIgnore": False} for n in names
                ]})  # fmt: skip
            elif parts[-1] == "batch":
                self.say({"transfer": "basic", "objects": [
                    {**o, "actions": {"upload": {"href": f"{address}/large/{o['oid']}"}}}
                    for o in json.loads(body)["objects"]
                ]})  # fmt: skip
            elif "commit" in parts:
                for line in map(json.loads, body.splitlines()):
                    self.write(root.joinpath(*parts[2:4]), line["key"], line["value"])
                page = "/".join([address, *parts[2:4], "commit", COMMIT])
                self.say({"commitUrl": page, "commitOid": COMMIT})
            else:
                self.missing("EntryNotFound")

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            (root / hashlib.sha256(body).hexdigest()).write_bytes(body)
            self.say({})

        def write(self, folder: Path, kind: str, value: Any) -> None:
            if kind == "header":
                return
            path = folder / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                path.write_bytes(base64.b64decode(value["content"]))
            else:
                (root / value["oid"]).rename(path)

        def say(self, pairs: Any) -> None:
            self.send(json.dumps(pairs).encode(), "application/json")

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
            whole["private"] = folder in private
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
            if self.command != "HEAD":
                self.wfile.write(body)

        def missing(self, why: str, status: int = 404) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", why)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
