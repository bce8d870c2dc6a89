"""A small object store over HTTP that speaks as much S3 as the lake and its files need, and fails when it is told to.

Keeps everything in memory. Signatures are not checked. What is written with `If-None-Match: *` is written once: the
lake's commits stand on that.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

ERRORS = {404: "NoSuchKey", 412: "PreconditionFailed", 500: "InternalError"}


@dataclass
class Held:
    """An object: its bytes, the headers that it came with, and when it came."""

    body: bytes
    headers: Mapping[str, str]
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))
    etag: str = field(default_factory=lambda: f'"{secrets.token_hex(8)}"')


class SmallS3(ThreadingHTTPServer):
    """One bucket, named after its port, so that no client takes it for the one before. It runs until `stop`.

    `before` is asked before each request is carried out, `after` before it is answered, both with (method, key); what
    they answer, if anything, is the status that the client gets instead: after `after` the request has had its effect.
    While `is_silent` is set nothing is answered at all.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bucket = f"bucket{self.server_port}"
        self.objects: dict[str, Held] = {}
        self.uploads: dict[str, tuple[Mapping[str, str], dict[int, bytes]]] = {}
        self.before: Callable[[str, str], int | None] = lambda method, key: None
        self.after: Callable[[str, str], int | None] = lambda method, key: None
        self.is_silent = False
        self.lock = threading.RLock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def environment(self) -> dict[str, str]:
        """How delta-rs, Polars and obstore find it."""
        names = {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "eu-west-1", "ALLOW_HTTP": "true"}
        names["ENDPOINT_URL"] = f"http://127.0.0.1:{self.server_port}"
        return {f"AWS_{name}": value for name, value in names.items()}

    def keys(self, ending: str = "") -> list[str]:
        """The names of all objects that end so."""
        with self.lock:
            return sorted(key for key in self.objects if key.endswith(ending))

    def age(self, key: str, hours: float) -> None:
        """Makes an object so old."""
        with self.lock:
            self.objects[key].modified -= timedelta(hours=hours)

    def fail(self, status: int = 500) -> None:
        """Answers every request so, until `heal`."""
        self.before = lambda method, key: status

    def fall_silent(self) -> None:
        """Answers nothing, until `heal`: clients wait for as long as they want to."""
        self.is_silent = True

    def heal(self) -> None:
        """Does its work again."""
        self.before = self.after = lambda method, key: None
        self.is_silent = False

    def await_voice(self) -> bool:
        """Whether it may answer now; returns when it may, or never will."""
        while self.is_silent and not self._stopped.wait(0.01):
            pass
        return not self._stopped.is_set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed, or waited long enough, is no error."""

    def stop(self) -> None:
        """Ends it; requests that wait are cut off."""
        self._stopped.set()
        self.shutdown()
        self.server_close()


@contextmanager
def small_s3() -> Iterator[SmallS3]:
    """A running one."""
    found = SmallS3()
    try:
        yield found
    finally:
        found.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SmallS3

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def _asked(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        key = unquote(parts.path).removeprefix(f"/{self.server.bucket}").removeprefix("/")
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if not self.server.await_voice():
            self.close_connection = True
            return
        status = self.server.before(self.command, key)
        if status is None:
            with self.server.lock:
                found = getattr(self, f"_{self.command}")(key, query, body)
            status = self.server.after(self.command, key)
        if status is not None:
            found = status, _error(status), {}
        self._answer(*found)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _asked

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # ── what can be asked: each answers status, body, headers ────────────────────────────────────────────────────

    def _PUT(self, key: str, query: Mapping[str, str], body: bytes) -> tuple[int, bytes, Mapping[str, str]]:
        if "uploadId" in query:
            self.server.uploads[query["uploadId"]][1][int(query["partNumber"])] = body
            return 200, b"", {"ETag": f'"{query["partNumber"]}"'}
        if self.headers.get("If-None-Match") == "*" and key in self.server.objects:
            return 412, _error(412), {}
        self.server.objects[key] = held = Held(body, dict(self.headers))
        return 200, b"", {"ETag": held.etag}

    def _POST(self, key: str, query: Mapping[str, str], body: bytes) -> tuple[int, bytes, Mapping[str, str]]:
        if "uploads" in query:
            upload = secrets.token_hex(8)
            self.server.uploads[upload] = dict(self.headers), {}
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            return 200, text.encode(), {}
        if "delete" in query:
            named = [one.text or "" for one in ElementTree.fromstring(body).iter() if one.tag.endswith("Key")]
            for one in named:
                self.server.objects.pop(one, None)
            found = "".join(f"<Deleted><Key>{escape(one)}</Key></Deleted>" for one in named)
            return 200, f"<DeleteResult>{found}</DeleteResult>".encode(), {}
        headers, parts = self.server.uploads.pop(query["uploadId"])
        held = Held(b"".join(parts[number] for number in sorted(parts)), headers)
        self.server.objects[key] = held
        tag = f"<ETag>{escape(held.etag)}</ETag>"
        return 200, f"<CompleteMultipartUploadResult>{tag}</CompleteMultipartUploadResult>".encode(), {}

    def _DELETE(self, key: str, query: Mapping[str, str], body: bytes) -> tuple[int, bytes, Mapping[str, str]]:
        if "uploadId" in query:
            self.server.uploads.pop(query["uploadId"], None)
        else:
            self.server.objects.pop(key, None)
        return 204, b"", {}

    def _GET(self, key: str, query: Mapping[str, str], body: bytes) -> tuple[int, bytes, Mapping[str, str]]:
        if not key:
            return 200, self._listed(query), {}
        held = self.server.objects.get(key)
        if held is None:
            return 404, _error(404), {}
        headers = {"ETag": held.etag, "Last-Modified": format_datetime(held.modified, usegmt=True)}
        wanted = self.headers.get("Range")
        if wanted is None:
            return 200, held.body, headers
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(held.body) - int(last))
        end = min(int(last), len(held.body) - 1) if first and last else len(held.body) - 1
        return 206, held.body[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(held.body)}"}

    _HEAD = _GET

    def _listed(self, query: Mapping[str, str]) -> bytes:
        prefix, delimiter, after = (query.get(name, "") for name in ("prefix", "delimiter", "start-after"))
        folders, found = set(), []
        for key, held in sorted(self.server.objects.items()):
            if not key.startswith(prefix) or key <= after:
                continue
            inside, is_folder, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else (key, "", "")
            if is_folder:
                folders.add(prefix + inside + delimiter)
                continue
            modified = held.modified.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            found.append(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(held.body)}</Size><ETag>{escape(held.etag)}</ETag>"
                f"<LastModified>{modified}</LastModified></Contents>"
            )
        found += [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)]
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(found)}</ListBucketResult>".encode()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _error(status: int) -> bytes:
    return f"<Error><Code>{ERRORS.get(status, 'Error')}</Code></Error>".encode()
