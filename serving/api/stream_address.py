"""The address of a change stream, at which a client hears that its answer has changed. Bulk answers give it out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from hashlib import blake2b

import msgspec
from fastapi import Request

from serving.access.keys import Caller
from serving.engine import Engine
from serving.ids import Ids
from serving.people.decided import Decided
from serving.streams.changes import ChangeStreams
from serving.streams.tickets import PATH, Protocol, kept_ticket

_encode = msgspec.json.Encoder().encode


async def decided_with_stream(
    request: Request, caller: Caller, protocol: Protocol, ids: Ids, deciding: Awaitable[Decided]
) -> tuple[Decided, str | None]:
    """The decisions of all flags, and the path of the stream that tells when they change: None while none can be had.

    The stream is told what the answer says. A client asks again when it hears of a change, and may be answered by a
    state that passes before the stream looks: without this nobody would tell the client that it has passed.
    """
    streams: ChangeStreams = request.app.state.streams
    decided, path = await asyncio.gather(deciding, _stream_path(request, caller, protocol, ids))
    if path is None:
        return decided, None
    ticket = path.removeprefix(PATH)
    if decided.asof:
        streams.answered(ticket, lambda: state_id(decided))
    # A provider that is refused at an address tries it again each second, as long as answers give it out.
    return decided, None if streams.listeners.is_full(ticket) else path


def state_id(decided: Decided) -> str:
    """The same for the same values, variants and allows of the same flags, in every process."""
    said = [(key, decision.value, decision.variant, decision.allow) for key, decision in decided.decisions.items()]
    return blake2b(_encode(said), digest_size=16).hexdigest()


async def _stream_path(request: Request, caller: Caller, protocol: Protocol, ids: Ids) -> str | None:
    """The path of the stream for a caller's question about these ids, the same at every answer.

    None while this process has no room for one more, or the ticket cannot be kept: then the client has to ask again.
    """
    engine: Engine = request.app.state.engine
    streams: ChangeStreams = request.app.state.streams
    if not streams.listeners.has_room(caller.id):
        return None
    ticket = await kept_ticket(engine, caller, protocol, ids, streams.new_tickets)
    return None if ticket is None else PATH + ticket
