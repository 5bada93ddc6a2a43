"""A hub on this machine: the endpoints that huggingface_hub calls for metadata and downloads, and their refusals."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Models by name, each a table of files; ``gated`` ones answer 403."""

    address: str
    models: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a free port of the loopback address."""
    hub = Hub("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            hub.asked.append(f"{self.command} /{path}")
            status, headers, content = answer(hub, path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(hub: Hub, path: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, as the Hub's own."""
    parts = path.split("/")
    if parts[:2] == ["api", "models"]:
        name, rest = "/".join(parts[2:4]), parts[4:]
    else:
        name, rest = "/".join(parts[:2]), parts[2:]
    if name in hub.gated:
        return refused(403, "GatedRepo", "Access to this model is restricted.")
    if name not in hub.models:
        return refused(401, "RepoNotFound", "Repository not found")
    files, revision = hub.models[name], rest[1] if len(rest) > 1 else "main"
    if revision not in ("main", COMMIT):
        return refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    if parts[0] == "api":
        siblings = [{"rfilename": file} for file in files]
        document = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
        return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()
    file = "/".join(rest[2:])
    if file not in files:
        return refused(404, "EntryNotFound", f"Entry not found: {file}")
    tag = hashlib.sha256(files[file]).hexdigest()
    return 200, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "none"}, files[file]


def refused(status: int, code: str, text: str) -> tuple[int, dict[str, str], bytes]:
    """An error as the Hub words it."""
    return status, {"X-Error-Code": code, "X-Error-Message": text, "X-Repo-Commit": COMMIT}, b""
