"""Ids that events get are random UUIDs, and no two are the same."""

from __future__ import annotations

import uuid

from serving.ingest.message_ids import made_id


def test_each_is_a_random_uuid_of_its_own() -> None:
    """Each id is a random UUID in its usual spelling (version 4, RFC 9562), and none comes twice in several draws."""
    made = [made_id() for _ in range(2_000)]

    assert len(set(made)) == len(made)
    for text in made:
        read = uuid.UUID(text)
        assert (str(read), read.version, read.variant) == (text, 4, uuid.RFC_4122)
