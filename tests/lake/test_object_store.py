"""Files in an object store: obstore against a small S3 of our own, over HTTP, as it speaks to any store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from lake.folder import Folder
from tests.small_s3 import SmallS3


def test_a_file_is_written_in_parts_listed_signed_read_and_dropped(object_store: SmallS3) -> None:
    """A file stands under the lake's own prefix, and whoever opens its signed address gets the bytes."""
    files = Folder(f"s3://{object_store.bucket}/my/lake", "exports")
    whole = b"x" * 6_000_000 + b"y" * 12_000_000
    files.put("segment_a.csv", iter([b"x" * 6_000_000, b"y" * 12_000_000]))
    url = files.signed("segment_a.csv", 3_600)

    assert object_store.keys() == ["my/lake/exports/segment_a.csv"]
    assert [(file.name, file.size) for file in files.listed()] == [("segment_a.csv", len(whole))]
    assert url is not None and httpx.get(url).content == whole
    assert asyncio.run(_read(files)) == whole
    headers = object_store.objects["my/lake/exports/segment_a.csv"].headers
    assert {name.lower(): value for name, value in headers.items()}["content-type"] == "text/csv; charset=utf-8"
    object_store.age("my/lake/exports/segment_a.csv", hours=24 * 7 + 1)
    assert files.delete_before(datetime.now(UTC) - timedelta(days=7)) == 1
    assert files.listed() == []


def test_a_file_whose_bytes_fail_is_not_there(object_store: SmallS3) -> None:
    """The parts of a file whose bytes raise are given up, so that the store does not keep them."""

    def broken() -> Iterator[bytes]:
        yield b"x" * 20_000_000
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        Folder(f"s3://{object_store.bucket}/lake", "exports").put("segment_a.csv", broken())

    assert (object_store.objects, object_store.uploads) == ({}, {})


async def _read(files: Folder) -> bytes:
    return b"".join([chunk async for chunk in files.chunks("segment_a.csv")])
