"""A folder of files beside the tables: each is written whole or not at all, listed, and dropped when it is old."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lake.folder import STAGED_HOURS, Folder


@pytest.fixture(params=["a folder", "a file:// address"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The lake's root, written either way, with a blank in it."""
    folder = tmp_path / "my lake"
    return str(folder) if request.param == "a folder" else folder.as_uri()


def read(files: Folder, name: str) -> bytes:
    """All bytes of a file."""

    async def whole() -> bytes:
        return b"".join([chunk async for chunk in files.chunks(name)])

    return asyncio.run(whole())


def test_a_file_comes_back_as_it_was_written(root: str) -> None:
    """A file comes back whole, however its bytes were cut; a later file of the name takes its place."""
    files = Folder(root, "exports")
    files.put("a.csv", iter([b"old"]))
    files.put("a.csv", iter([b"x" * 3_000_000, b"", b"y" * 9_000_000]))

    assert read(files, "a.csv") == b"x" * 3_000_000 + b"y" * 9_000_000
    assert [(file.name, file.size) for file in files.listed()] == [("a.csv", 12_000_000)]
    assert files.head("a.csv") == files.listed()[0]
    assert files.head("b.csv") is None
    with pytest.raises(FileNotFoundError):
        read(files, "b.csv")


def test_a_file_whose_bytes_fail_is_not_there_and_leaves_the_old_one(root: str) -> None:
    """A file whose bytes raise shows no part of it, and the file before it stays."""
    files = Folder(root, "exports")
    files.put("a.csv", iter([b"old"]))

    def broken() -> Iterator[bytes]:
        yield b"x" * 20_000_000
        raise ValueError("no more")

    for name in ("a.csv", "b.csv"):
        with pytest.raises(ValueError, match="no more"):
            files.put(name, broken())
    assert [file.name for file in files.listed()] == ["a.csv"]
    assert read(files, "a.csv") == b"old"


def test_old_files_are_dropped_and_what_killed_writers_left(tmp_path: Path) -> None:
    """Old files go, and the parts that killed writers left. A part whose writer may still be at work stays."""
    files = Folder(str(tmp_path), "exports")
    for name in ("old.csv", "new.csv", "left.csv#1", "writing.csv#1"):
        files.put(name.partition("#")[0], iter([b"x"]))
        (tmp_path / "exports" / name).write_bytes(b"x")
    now = datetime.now(UTC)
    for name, hours in (("old.csv", 200), ("left.csv#1", STAGED_HOURS + 1)):
        at = (now - timedelta(hours=hours)).timestamp()
        os.utime(tmp_path / "exports" / name, (at, at))

    assert files.delete_before(now - timedelta(days=7)) == 1
    left = sorted(path.name for path in (tmp_path / "exports").iterdir())
    assert left == ["left.csv", "new.csv", "writing.csv", "writing.csv#1"]


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    """A name with `..` in it raises, and an absolute one names no file, whatever a caller let through."""
    (tmp_path / "secret").write_text("no")
    files = Folder(str(tmp_path), "exports")
    for name in ("../secret", "a/../../secret"):
        with pytest.raises(ValueError, match="path"):
            files.head(name)
    assert files.head("/secret") is None


def test_an_object_store_gives_its_own_addresses_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 signs an address of the file under the lake's own prefix, for as long as was asked."""
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "eu-west-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    url = Folder("s3://bucket/some/lake", "exports").signed("a.csv", 3_600)

    assert url is not None
    assert "/some/lake/exports/a.csv?" in url and "X-Amz-Expires=3600" in url and "X-Amz-Signature=" in url


def test_google_cloud_storage_gives_its_own_addresses_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google signs an address with the account's key, without a request to the network; the key is not in it."""
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account",
        "client_email": "exports@project.iam.gserviceaccount.com",
        "private_key": pem,
        "private_key_id": "1",
    }
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account))
    url = Folder("gs://bucket/some/lake", "exports").signed("a.csv", 3_600)

    assert url is not None
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    assert (parts.scheme, parts.hostname) == ("https", "storage.googleapis.com")
    assert parts.path == "/bucket/some/lake/exports/a.csv"
    assert (query["X-Goog-Expires"], len(query["X-Goog-Signature"][0])) == (["3600"], 512)
    assert query["X-Goog-Credential"][0].startswith(account["client_email"])
    assert "PRIVATE" not in url and pem.splitlines()[1] not in url


def test_azure_gives_its_own_addresses_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure signs an address with the account's key, to read for so long; the key is not in it."""
    key = b64encode(b"a secret that nobody is told").decode()
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", key)
    before = datetime.now(UTC)
    url = Folder("az://container/some/lake", "exports").signed("a.csv", 3_600)

    assert url is not None
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    assert (parts.scheme, parts.hostname) == ("https", "account.blob.core.windows.net")
    assert parts.path == "/container/some/lake/exports/a.csv"
    until = datetime.fromisoformat(query["se"][0])
    assert timedelta(seconds=3_590) < until - before < timedelta(seconds=3_690)
    assert (query["sp"], query["sr"]) == (["r"], ["b"]) and query["sig"]
    assert key not in unquote(url)
