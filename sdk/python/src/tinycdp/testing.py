"""For the tests of apps: a client that records, and answers what a test says.

    def test_checkout():
        cdp = RecordingClient(flags={"free_shipping": True})
        checkout(cdp, "ada")
        assert [event["event"] for event in cdp.events] == ["purchase"]

`tinycdp.pytest_plugin` runs a real stack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ._asking import Outcome
from ._decisions import Decision
from ._events import Event, Kind
from ._questions import Question
from .client import Client, Handle


class RecordingClient(Client):
    """A client that sends nothing and asks nobody. It checks and serialises events as the real one does.

    `events` are those that would be sent, as the wire has them, in order. `flags` are the answers: a value, or a
    function from the user id to one; a flag that is not there gives the caller's default with reason ERROR.
    `user_traits` is what `traits` answers, by user id.
    """

    def __init__(
        self,
        flags: Mapping[str, Any] | None = None,
        user_traits: Mapping[str, Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self.flags: dict[str, Any] = dict(flags or {})
        self.user_traits: dict[str, Mapping[str, Any]] = dict(user_traits or {})
        super().__init__(**{"url": "http://127.0.0.1:9", "write_key": "recording", "read_key": "recording", **settings})

    def _put(
        self,
        kind: Kind,
        user_id: str | int | None,
        anonymous_id: str | None,
        timestamp: datetime | str | None,
        message_id: str | None,
        context: Mapping[str, Any] | None,
        body: Event,
    ) -> Handle:
        entry, lost_as = self._entry(kind, user_id, anonymous_id, timestamp, message_id, context, body)
        with self._lock:
            if lost_as or self._is_closed:
                lost = self._queue(entry, lost_as)
            else:
                lost = []
                self.events.append(json.loads(entry.body))
                entry.state = "sent"
                self._outbox.stats.sent += 1
        self._tell(lost)
        return Handle(self, entry, self._outbox)

    def _ask(self, question: Question, deadline_s: float) -> Outcome:
        user = question.ids[0].partition(":")[2] if question.ids else ""
        keys = list(self.flags) if question.flag is None else [question.flag]
        if question.flag is not None and question.flag not in self.flags:
            return Outcome(None, f"Flag '{question.flag}' not found", "FLAG_NOT_FOUND")
        return Outcome(tuple(self._decision(key, user) for key in keys))

    def _decision(self, key: str, user: str) -> Decision[Any]:
        answer = self.flags[key]
        value = answer(user) if callable(answer) else answer
        return Decision(key, value, bool(value), None, "STATIC")

    def traits(self, user_id: str | int, *, timeout: float | None = None) -> dict[str, Any]:
        """What the test said, in the shape of the API's answer."""
        return {"traits": dict(self.user_traits.get(str(user_id), {})), "segments": {}, "warming": [], "exact": True}
