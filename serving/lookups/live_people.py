"""Questions about a person as of now, answered in a process beside the API: explanations, and all about large records.

An explanation takes up to a tenth of a second, and so does any answer about somebody with twenty thousand recent
events. A thread of the API would share Python's lock with the event loop. The loop would wait for it at each of its
steps, and for as long as one call of C takes, such as the sort of 20,000 values. The process reads the person itself,
so not even the bytes pass the loop. What it decoded, and the catalogue, it keeps for the next question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from serving.definitions.catalogue import Catalogue, decode
from serving.people.decided import Decided, decided_for
from serving.people.gather import gather
from serving.people.person import DecodedBases, Person, person
from serving.refusals import Unavailable
from serving.store.base_codec import CodecError
from serving.store.errors import StoreError
from serving.store.records import Record, are_large
from serving.store.store import Store

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode

#: The memory that decoded bases and tails take in such a process, about.
DECODED_BYTES_MAX = 64_000_000
#: A Redis that does not answer for so long is away.
REDIS_S = 2.0


class Explained(NamedTuple):
    """Decisions without their explanations, and each explanation as JSON: whoever asked hands it on as it is.

    `is_large`: the person's records are large, so that the next explanation is one of `explained_large`.
    """

    decided: Decided
    explanations: dict[str, bytes]
    is_large: bool = False


class Told(NamedTuple, Generic[T]):
    """What is told of a person, and what it rests on.

    Where another process told it, the bases and tails of the records are left out: an empty base stands for any.
    `tails` counts the entries of each tail, `version` is the catalogue's. `is_large`: another process is to tell it the
    next time, too.
    """

    said: T
    records: Sequence[Record]
    tails: Sequence[int]
    version: int
    is_large: bool


class _People:
    """The people in a Redis, as one process reads them."""

    def __init__(self, redis_url: str, shards: int) -> None:
        self._store = store_of(redis_url, shards)
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


@cache
def store_of(redis_url: str, shards: int) -> Store:
    """The store of a Redis, one for all questions to this process."""
    return Store(redis_url, shards, timeout_s=REDIS_S)


def told(redis_url: str, shards: int, id: str | None, tell: Callable[..., T], *args: Any) -> Told[T]:
    """What `tell` says of the person of an id; it is given the person and the arguments.

    Raises `Unavailable` while Redis is away, `CodecError` for a damaged record, and what `tell` raises.
    """
    try:
        asked = _people(redis_url, shards).person(id)
    except StoreError as error:
        raise Unavailable("Redis is away") from error
    records = asked.reading.records
    marks = [record.mark if record.base is None else record.mark._replace(base=b"") for record in records]
    tails = [len(record.tail) for record in records]
    return Told(tell(asked, *args), marks, tails, asked.catalogue.version, are_large(records))


def explained(redis_url: str, shards: int, id: str | None, device: str | None, keys: Sequence[str] | None) -> Explained:
    """Decisions of these flags (None: of all) for the person of an id, with their explanations.

    `device` is the namespaced id that asks. The flags themselves are left out: the API has them. Raises `Unavailable`
    where nobody can be read.
    """
    try:
        made = told(redis_url, shards, id, _explained, device, keys)
    except CodecError as error:
        raise Unavailable(str(error)) from error
    return made.said._replace(is_large=made.is_large)


def explained_large(
    redis_url: str, shards: int, id: str | None, device: str | None, keys: Sequence[str] | None
) -> Explained:
    """The same of somebody with large records: such explanations wait for each other, and nobody else for them."""
    return explained(redis_url, shards, id, device, keys)


def _explained(person: Person, device: str | None, keys: Sequence[str] | None) -> Explained:
    decided = decided_for(person, device, keys, explain=True)
    trees = {key: decision.explanation for key, decision in decided.decisions.items()}
    bare = {key: msgspec.structs.replace(decision, explanation=None) for key, decision in decided.decisions.items()}
    texts = {key: _encode(tree) for key, tree in trees.items() if tree is not None}
    return Explained(Decided(bare, {}, decided.asof), texts)
