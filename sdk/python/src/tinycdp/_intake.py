"""From the app's call to an entry of the outbox: the calls that both clients have, word for word."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from ._events import Event, Kind, MessageIds, NotSendable, event_bytes, ids_of, timestamp_text
from ._outbox import Entry

log = logging.getLogger("tinycdp")

HandleT = TypeVar("HandleT")


class Intake:
    """Makes entries. `before_send` may change an event, or drop it by returning None."""

    def __init__(self, before_send: Callable[[Event], Event | None] | None, context: Mapping[str, Any] | None) -> None:
        self._before_send = before_send
        self._context = dict(context) if context is not None else None
        self._draw_id = MessageIds()

    def entry(
        self,
        now_s: float,
        kind: Kind,
        user_id: str | int | None,
        anonymous_id: str | None,
        timestamp: datetime | str | None,
        message_id: str | None,
        context: Mapping[str, Any] | None,
        body: Event,
    ) -> tuple[Entry, str]:
        """An entry, and what it is counted under where it is refused or dropped at once; else an empty text."""
        if message_id is None or (isinstance(message_id, str) and not message_id):
            message_id = self._draw_id()
        event: Event = {"type": kind, "messageId": message_id, **body}
        if user_id is not None:
            event["userId"] = user_id
        if anonymous_id is not None:
            event["anonymousId"] = anonymous_id
        if context is None:
            context = self._context
        if context is not None:
            event["context"] = context
        entry = Entry(b"", "", (), now_s)
        try:
            entry.message_id = str(message_id)
            event["timestamp"] = timestamp_text(timestamp)
            if self._before_send is not None:
                changed = self._changed(event)
                if changed is None:
                    entry.state, entry.reason = "dropped", "before_send returned None"
                    return entry, "before_send"
                event = changed
                entry.message_id = str(event.setdefault("messageId", entry.message_id))
            entry.body = event_bytes(event)
            entry.ids = ids_of(event)
            return entry, ""
        except NotSendable as error:
            entry.state, entry.reason = "refused", str(error)
            return entry, "no JSON or too large"
        except _BeforeSendFailed as failed:  # it is the app's: its mistakes are told, and end no request
            log.error("before_send failed; the event is not sent", exc_info=failed.__cause__)
            entry.state, entry.reason = "refused", f"before_send raised {type(failed.__cause__).__name__}"
            return entry, "before_send failed"
        except Exception as error:  # a value of the app fails where it is read
            entry.state, entry.reason = "refused", f"no JSON: a value raised {type(error).__name__}"
            return entry, "no JSON or too large"

    def _changed(self, event: Event) -> Event | None:
        """The event as `before_send` wants it. It may change what it gets: the app's own objects are not in it."""
        assert self._before_send is not None
        own = {name: dict(value) if isinstance(value, Mapping) else value for name, value in event.items()}
        try:
            changed = self._before_send(own)
            return None if changed is None else {**changed}
        except Exception as error:
            raise _BeforeSendFailed from error


class _BeforeSendFailed(Exception):
    """Its cause says how."""


class EventCalls(ABC, Generic[HandleT]):
    """The calls that queue an event. Each costs microseconds and never raises for what the event holds.

    `user_id` or `anonymous_id` names the person; both together link the two. `timestamp` is when it happened, now by
    default: a datetime with a zone, or ISO 8601. `message_id` is what a repeat is known by; without one each call is an
    event of its own. `context` stands for the client's own.
    """

    @abstractmethod
    def _put(
        self,
        kind: Kind,
        user_id: str | int | None,
        anonymous_id: str | None,
        timestamp: datetime | str | None,
        message_id: str | None,
        context: Mapping[str, Any] | None,
        body: Event,
    ) -> HandleT: ...

    def track(
        self,
        user_id: str | int | None,
        event: str,
        properties: Mapping[str, Any] | None = None,
        *,
        anonymous_id: str | None = None,
        timestamp: datetime | str | None = None,
        message_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> HandleT:
        """Queues that something happened."""
        body: Event = {"event": event, "properties": {} if properties is None else properties}
        return self._put("track", user_id, anonymous_id, timestamp, message_id, context, body)

    def identify(
        self,
        user_id: str | int | None,
        traits: Mapping[str, Any] | None = None,
        *,
        anonymous_id: str | None = None,
        timestamp: datetime | str | None = None,
        message_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> HandleT:
        """Queues attributes of a user: whole values of top-level keys; None removes one."""
        return self._put(
            "identify",
            user_id,
            anonymous_id,
            timestamp,
            message_id,
            context,
            {"traits": {} if traits is None else traits},
        )

    def page(
        self,
        user_id: str | int | None,
        name: str | None = None,
        properties: Mapping[str, Any] | None = None,
        *,
        category: str | None = None,
        anonymous_id: str | None = None,
        timestamp: datetime | str | None = None,
        message_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> HandleT:
        """Queues the view of a page: it counts as the event "Page Viewed"."""
        body = _view(name, category, properties)
        return self._put("page", user_id, anonymous_id, timestamp, message_id, context, body)

    def screen(
        self,
        user_id: str | int | None,
        name: str | None = None,
        properties: Mapping[str, Any] | None = None,
        *,
        category: str | None = None,
        anonymous_id: str | None = None,
        timestamp: datetime | str | None = None,
        message_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> HandleT:
        """Queues the view of a screen: it counts as the event "Screen Viewed"."""
        body = _view(name, category, properties)
        return self._put("screen", user_id, anonymous_id, timestamp, message_id, context, body)

    def group(
        self,
        user_id: str | int | None,
        group_id: str,
        traits: Mapping[str, Any] | None = None,
        *,
        anonymous_id: str | None = None,
        timestamp: datetime | str | None = None,
        message_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> HandleT:
        """Queues that a user belongs to a group: the server keeps it, and it counts as no event."""
        body: Event = {"groupId": group_id, "traits": {} if traits is None else traits}
        return self._put("group", user_id, anonymous_id, timestamp, message_id, context, body)

    def alias(
        self,
        user_id: str | int,
        previous_id: str,
        *,
        timestamp: datetime | str | None = None,
        message_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> HandleT:
        """Queues that a previous id, a user's or an anonymous one, is the same person as a user."""
        return self._put("alias", user_id, None, timestamp, message_id, context, {"previousId": previous_id})


def _view(name: str | None, category: str | None, properties: Mapping[str, Any] | None) -> Event:
    view: Event = {"properties": {} if properties is None else properties}
    if name is not None:
        view["name"] = name
    if category is not None:
        view["category"] = category
    return view
