"""Segment's tracking API as its clients speak it: the meaning of their paths, where they put the key, their batches.

Our own paths are among Segment's, so all paths take the same events by the same rules. `docs/segment.md` lists what
each client sends.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from serving.access.keys import KEY_CHARACTERS_MAX
from serving.http.bodies import json_of
from serving.ingest.event_json import fields_of, split_batch
from serving.refusals import Invalid, invalid

#: The kind of event of each path under /v1. analytics.js sends to the first letter of a kind.
KINDS_OF_PATHS = {
    name: kind for kind in ("track", "identify", "page", "screen", "group", "alias") for name in (kind, kind[0])
}

#: Paths under /v1 that take many events. analytics.js sends to b, some mobile clients to import.
BATCH_PATHS = ("batch", "b", "import")


class Batch(msgspec.Struct):
    """A batch: its events, each still text, and fields about all of them."""

    batch: list[msgspec.Raw]
    context: Any = None
    sentAt: Any = None
    writeKey: Any = None


_batch = msgspec.json.Decoder(Batch).decode

_KEY_NAME = b'"writeKey"'
_COLON = re.compile(rb'\s{0,9}:\s{0,9}"')
#: Names of keys in the text of a body that are looked at. Clients write one, in each event at the most.
KEY_NAMES_MAX = 256
#: Distinct keys among them, the bytes of one as it is written, and the quotes in it.
DISTINCT_KEYS_MAX, WRITTEN_BYTES_MAX, ESCAPES_MAX = 16, 1_024, 10


def batch_of(body: bytes) -> Batch:
    """The parts of a batch. Raises `Invalid`."""
    try:
        return _batch(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = json_of(body)  # raises where the body is no JSON at all
        events = value.get("batch") if isinstance(value, dict) else None
        raise invalid("batch", events, 'send {"batch": [event, …]}') from None


def lenient_batch_of(body: bytes) -> tuple[Batch, list[Invalid]] | None:
    """The parts of a batch of which a part is no JSON, and why it lacks fields of its own that are none.

    None where nobody can tell where an event ends. Takes far longer than `batch_of`: for callers whose key is known,
    and in a thread.
    """
    parts = split_batch(body)
    if parts is None:
        return None
    envelope, texts = parts
    events = [msgspec.Raw(event) for event in texts]
    try:
        return msgspec.structs.replace(_batch(envelope), batch=events), []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = fields_of(envelope, (name for name in Batch.__struct_fields__ if name != "batch"))
    return None if fields is None else (Batch(events, **fields[0]), fields[1])


def written_keys(body: bytes) -> Iterator[str]:
    """The keys that stand in the text of a body, which may be no JSON as a whole, in the order of the text.

    Behind the first `KEY_NAMES_MAX` names none is looked for.
    """
    written: set[bytes] = set()
    end = 0
    for _ in range(KEY_NAMES_MAX):
        at = body.find(_KEY_NAME, end)
        if at < 0:
            return
        end = at + len(_KEY_NAME)
        colon = _COLON.match(body, end)
        text = None if colon is None else _string_from(body, colon.end())
        if text is not None and text not in written and len(written) < DISTINCT_KEYS_MAX:
            written.add(text)
            with suppress(Invalid):
                yield json_of(b'"%b"' % text)


def _string_from(body: bytes, start: int) -> bytes | None:
    """The text of a JSON string up to its closing quote; None for one that is longer than a key may be."""
    end = start - 1
    for _ in range(ESCAPES_MAX):
        end = body.find(b'"', end + 1, start + WRITTEN_BYTES_MAX)
        if end < 0:
            return None
        text = body[start:end]
        if (len(text) - len(text.rstrip(b"\\"))) % 2 == 0:
            return text
    return None


def header_keys(authorization: str | None) -> Iterator[str]:
    """The key of an Authorization header, if it has one: the user name of Basic, or the token of Bearer."""
    if authorization is None or len(authorization) > KEY_CHARACTERS_MAX:
        return
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "basic":
        try:
            name = base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return
    else:
        name = authorization.removeprefix("Bearer ")
    if name.strip():
        yield name.strip()


def body_keys(body: Any) -> Iterator[str]:
    """The keys that a body carries: its own, and that of the first event that has one."""
    key = body.writeKey if isinstance(body, Batch) else body.get("writeKey") if isinstance(body, dict) else None
    if isinstance(key, str) and key:
        yield key
    if isinstance(body, Batch):
        for raw in body.batch:
            try:
                event = json_of(raw)
            except Invalid:
                continue
            if isinstance(event, dict) and isinstance(event.get("writeKey"), str) and event["writeKey"]:
                yield event["writeKey"]
                return


def settings_of(write_key: str, host: str, protocol: str) -> dict[str, Any]:
    """The settings that analytics.js and the mobile clients load before they send: all events go to this server."""
    destination = {"apiKey": write_key, "apiHost": f"{host}/v1", "protocol": protocol}
    return {
        "integrations": {"Segment.io": destination},
        "plan": {},
        "edgeFunction": {},
        "middlewareSettings": {},
        "metrics": {"sampleRate": 0},
    }
