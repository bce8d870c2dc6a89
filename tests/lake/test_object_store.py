"""Files in an object store: obstore against a small S3 of our own, over HTTP, as it would speak to any."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from lake.files import Files


class SmallS3(BaseHTTPRequestHandler):
    """The part of S3 that files need: puts, whole and in parts; gets, lists and deletes. Signatures are not checked."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, tuple[bytes, dict[str, str]]]
    uploads: dict[str, dict[int, bytes]]

    def _asked(self) -> tuple[str, dict[str, list[str]], bytes]:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return unquote(parts.path).removeprefix("/bucket/"), parse_qs(parts.query, keep_blank_values=True), body

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "ETag": '"e"', **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        key, query, body = self._asked()
        if "uploadId" in query:
            self.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
        else:
            self.objects[key] = (body, dict(self.headers))
        self._answer(200)

    def do_POST(self) -> None:
        key, query, body = self._asked()
        if "uploads" in query:
            upload = f"u{len(self.uploads)}"
            self.uploads[upload] = {}
            self.objects.setdefault(f"{key}?{upload}", (b"", dict(self.headers)))
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        elif "delete" in query:
            gone = [one for one in self.objects if f"<Key>{one}</Key>" in body.decode()]
            for one in gone:
                del self.objects[one]
            found = "".join(f"<Deleted><Key>{one}</Key></Deleted>" for one in gone)
            text = f"<DeleteResult>{found}</DeleteResult>"
        else:
            upload = query["uploadId"][0]
            held = self.uploads.pop(upload)
            _, headers = self.objects.pop(f"{key}?{upload}")
            self.objects[key] = (b"".join(held[number] for number in sorted(held)), headers)
            text = '<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>'
        self._answer(200, text.encode())

    def do_DELETE(self) -> None:
        key, query, _ = self._asked()
        if "uploadId" in query:
            self.uploads.pop(query["uploadId"][0], None)
            self.objects.pop(f"{key}?{query['uploadId'][0]}", None)
        else:
            self.objects.pop(key, None)
        self._answer(204)

    def do_GET(self) -> None:
        key, query, _ = self._asked()
        if "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            found = "".join(
                f"<Contents><Key>{one}</Key><Size>{len(body)}</Size><ETag>e</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for one, (body, _) in sorted(self.objects.items())
                if one.startswith(prefix) and "?" not in one
            )
            self._answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode())
        elif key not in self.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer(200, self.objects[key][0], Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT")

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[SmallS3]]:
    """A running one, named by the environment as delta-rs and obstore read it."""
    handler = type("Handler", (SmallS3,), {"objects": {}, "uploads": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        names = {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "eu-west-1", "ALLOW_HTTP": "true"}
        for name, value in (names | {"ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}).items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield handler
        server.shutdown()


def test_a_file_is_written_in_parts_listed_signed_read_and_dropped(store: type[SmallS3]) -> None:
    """Under the lake's own prefix; whoever opens its address gets the bytes."""
    files = Files("s3://bucket/my/lake", "exports")
    whole = b"x" * 6_000_000 + b"y" * 12_000_000
    files.put("segment_a.csv", iter([b"x" * 6_000_000, b"y" * 12_000_000]))
    url = files.signed("segment_a.csv", 3_600)

    assert list(store.objects) == ["my/lake/exports/segment_a.csv"]
    assert [(file.name, file.size) for file in files.listed()] == [("segment_a.csv", len(whole))]
    assert url is not None and httpx.get(url).content == whole
    assert asyncio.run(_read(files)) == whole
    headers = store.objects["my/lake/exports/segment_a.csv"][1]
    assert headers["content-type"] == "text/csv; charset=utf-8"
    assert files.delete_before(datetime.now(UTC) - timedelta(days=7)) == 1
    assert files.listed() == []


def test_a_file_whose_bytes_fail_is_not_there(store: type[SmallS3]) -> None:
    """And its parts are given up, so that the store does not keep them."""

    def broken() -> Iterator[bytes]:
        yield b"x" * 20_000_000
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        Files("s3://bucket/lake", "exports").put("segment_a.csv", broken())

    assert (store.objects, store.uploads) == ({}, {})


async def _read(files: Files) -> bytes:
    return b"".join([chunk async for chunk in files.chunks("segment_a.csv")])
