"""The address of a change stream, at which a client hears that its answer has changed. Bulk answers give it out."""

from __future__ import annotations

from fastapi import Request

from serving.access.keys import Caller
from serving.engine import Engine
from serving.ids import Ids
from serving.streams.changes import ChangeStreams
from serving.streams.handles import PATH, Protocol, kept_handle


async def stream_path(request: Request, caller: Caller, protocol: Protocol, ids: Ids) -> str | None:
    """The path of the stream for a caller's question about these ids, the same at every answer.

    None while this process has no room for one more, or the handle cannot be kept: then the client has to ask again.
    """
    engine: Engine = request.app.state.engine
    streams: ChangeStreams = request.app.state.streams
    if not streams.listeners.has_room(caller.id):
        return None
    handle = await kept_handle(engine, caller, protocol, ids, streams.new_handles)
    return None if handle is None else PATH + handle
