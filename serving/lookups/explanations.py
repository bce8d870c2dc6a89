"""Decisions with their explanations, of which each takes up to a tenth of a second: made in a process beside the API.

A thread of the API would share Python's lock with the event loop. The loop would wait for it at each of its steps, and
for as long as one call of C takes, such as the sort of 20,000 values. The process reads the person itself, so not even
the bytes pass the loop. What it decoded, and the catalogue, it keeps for the next question.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import msgspec

from serving.definitions.catalogue import Catalogue, decode
from serving.people.decided import Decided, decided_for
from serving.people.gather import gather
from serving.people.person import DecodedBases, Person, person
from serving.refusals import Unavailable
from serving.store.base_codec import CodecError
from serving.store.errors import StoreError
from serving.store.store import Store

_encode = msgspec.json.Encoder().encode

#: The memory that decoded bases and tails take in such a process, about.
DECODED_BYTES_MAX = 64_000_000
#: A Redis that does not answer for so long is away: the API then decides, without an explanation.
REDIS_S = 2.0


class Explained(NamedTuple):
    """Decisions without their explanations, and each explanation as JSON: whoever asked hands it on as it is."""

    decided: Decided
    explanations: dict[str, bytes]


class _People:
    """The people in a Redis, as one process reads them."""

    def __init__(self, redis_url: str, shards: int) -> None:
        self._store = Store(redis_url, shards, timeout_s=REDIS_S)
        self._bases = DecodedBases(DECODED_BYTES_MAX)
        self._catalogue: Catalogue | None = None

    def person(self, id: str | None) -> Person:
        """The person that a namespaced id belongs to, as of now; nobody where there is none.

        Raises `StoreError`, `CodecError` for a damaged record, `Unavailable` while Redis has no definitions.
        """
        store = self._store
        steps = None if id is None else gather(store.operations, id, self._bases.large)
        reading = store.records([]) if steps is None else store.follow(steps)
        known = self._catalogue
        if known is None or known.version != reading.catalogue_version:
            text = store.catalogue()
            if text is None:
                raise Unavailable("definitions are being restored")
            loaded = decode(text)
            if known is not None:
                loaded.with_compiled(known)
            self._catalogue = known = loaded
        return person(reading, known, self._bases)


_people = cache(_People)


def explained(redis_url: str, shards: int, id: str | None, device: str | None, keys: Sequence[str] | None) -> Explained:
    """Decisions of these flags (None: of all) for the person of an id, with their explanations.

    `device` is the namespaced id that asks. Raises `Unavailable` where nobody can be read.
    """
    try:
        asked = _people(redis_url, shards).person(id)
    except (StoreError, CodecError) as error:
        raise Unavailable(str(error)) from error
    decided = decided_for(asked, device, keys, explain=True)
    trees = {key: decision.explanation for key, decision in decided.decisions.items()}
    bare = {key: msgspec.structs.replace(decision, explanation=None) for key, decision in decided.decisions.items()}
    flags = {key: decided.flags[key] for key in bare if key in decided.flags}
    texts = {key: _encode(tree) for key, tree in trees.items() if tree is not None}
    return Explained(Decided(bare, flags, decided.asof), texts)
