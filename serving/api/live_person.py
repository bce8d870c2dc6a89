"""What is told of a person as of now, made where it makes nobody else wait.

    small records, few definitions     in the event loop: a few hundred microseconds
    small records, many definitions    in a thread beside it: a few milliseconds (`serving.api.beside`)
    large records                      in another process: up to a tenth of a second (`serving.lookups.live_people`)

Who has large records shows when they are read for the first time. From then on the process is asked at once. It reads
them itself, until they are small again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from serving.api.beside import beside
from serving.definitions.catalogue import Catalogue
from serving.engine import RETRY_AFTER_S, Engine
from serving.lookups import live_people
from serving.lookups.live_people import Told
from serving.lookups.worker import in_worker
from serving.people.person import Person, person
from serving.refusals import Unavailable
from serving.store.records import are_large

T = TypeVar("T")

#: So many ids are known to have large records; beyond it the one that was found first is forgotten.
LARGE_MAX = 10_000


async def small_person(engine: Engine, id: str | None) -> Person | None:
    """The person that a namespaced id belongs to, as of now; nobody where no id is given. None where records are large.

    The person comes with the catalogue of that moment. Raises `Unavailable`, and `CodecError` for a damaged record.
    """
    if id is not None and id in engine.large_ids:
        await engine.current()  # a Redis that is away, and definitions of a newer release, are known here at once
        return None
    reading = await (engine.read(()) if id is None else engine.read_person(id))
    catalogue = await engine.at_least(reading.catalogue_version)
    if id is not None and are_large(reading.records):
        note_size(engine, id, is_large=True)
        return None
    return person(reading, catalogue, engine.bases)


def note_size(engine: Engine, id: str, *, is_large: bool) -> None:
    """Notes whether the person of an id has large records, which another process is asked about at once."""
    if not is_large:
        engine.large_ids.pop(id, None)
        return
    while len(engine.large_ids) >= LARGE_MAX:
        engine.large_ids.pop(next(iter(engine.large_ids)))
    engine.large_ids[id] = None


async def told_of(
    engine: Engine, id: str | None, is_long: Callable[[Catalogue], bool], tell: Callable[..., T], *args: Any
) -> tuple[Told[T], Catalogue]:
    """What `tell` says of the person of an id, given the person and the arguments; and the catalogue that it rests on.

    `is_long`: it takes more than a moment also where the records are small. A function of a module that takes and gives
    plain values can be asked of another process. Raises `Unavailable`, and `CodecError` for a damaged record.
    """
    who = await small_person(engine, id)
    if who is None:
        return await told_elsewhere(engine, id, tell, *args)
    catalogue, records = who.catalogue, who.reading.records
    if is_long(catalogue):  # nobody else would answer if it were made in the loop, so it waits as long as it must
        said = await beside(lambda: tell(who, *args), is_patient=True)
    else:
        said = tell(who, *args)
    return Told(said, records, [len(record.tail) for record in records], catalogue.version, False), catalogue


async def told_elsewhere(
    engine: Engine, id: str | None, tell: Callable[..., T], *args: Any
) -> tuple[Told[T], Catalogue]:
    """The same, from the process that large records are read in. Raises `Unavailable` too where it has no turn."""
    settings = engine.settings
    try:
        told = await in_worker(live_people.told, str(settings.redis_url), settings.shards, id, tell, *args)
    except TimeoutError:
        message = "too much is asked at once about people with very many recent events"
        raise Unavailable(message, {"remedy": "try again"}, RETRY_AFTER_S) from None
    if not told.is_large and id is not None:
        note_size(engine, id, is_large=False)
    return told, await engine.at_least(told.version)
