"""The open change streams of this process, with their bounds, and what each has been told.

A ticket is followed once, however many clients listen to it: the tabs of one browser, the devices of one person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from serving.http.event_stream import Latest
from serving.refusals import TooMany, Unavailable
from serving.streams.tickets import Subject

#: Streams of one ticket in one process: one for each tab of a person.
OF_TICKET_MAX = 20
#: Of a process' connections this part may be streams, and of these one key may have this part: the rest is for others.
OF_CONNECTIONS, OF_KEY = 1 / 2, 3 / 4
#: A client that is refused comes again after this.
RETRY_AFTER_S = 30


@dataclass(slots=True, eq=False)
class Listener:
    """One client that listens. `told` is the state that it knows of, by `Last-Event-ID` or since it was told."""

    latest: Latest
    told: str | None


@dataclass(slots=True, eq=False)
class Followed:
    """A ticket with listeners, and the state that was found last.

    `due_s` is when it is looked at again, whatever moves, `time_look_s` when it was for that reason last, and
    `not_before_s` when it may be at the earliest; `renew_s` is when Redis is to keep the ticket longer: all on the
    loop's clock. `version` is that of the catalogue that it was decided by; None: it was not yet. `is_ahead` and
    `is_waiting`: it stands in that queue, and is examined there if it `is_wanted` still. `has_other_answer`: since it
    was told last, an answer was given that says something else.
    """

    ticket: str
    subject: Subject
    digest: bytes
    renew_s: float
    due_s: float = inf
    time_look_s: float = -inf
    not_before_s: float = 0.0
    listeners: list[Listener] = field(default_factory=list)
    version: int | None = None
    is_wanted: bool = False
    is_ahead: bool = False
    is_waiting: bool = False
    is_examined: bool = False
    has_other_answer: bool = False


class Listeners:
    """All of them. `connections_max` are the connections that the process takes at once."""

    def __init__(self, connections_max: int) -> None:
        self.streams_max = max(1, int(connections_max * OF_CONNECTIONS))
        self.of_key_max = max(1, int(self.streams_max * OF_KEY))
        self.followed: dict[str, Followed] = {}
        self.count = 0
        self._of_key: Counter[str] = Counter()

    def has_room(self, key_id: str) -> bool:
        """Whether one more stream of a key would be taken."""
        return self.count < self.streams_max and self._of_key[key_id] < self.of_key_max

    def is_full(self, ticket: str) -> bool:
        """Whether a ticket has as many streams as it may."""
        followed = self.followed.get(ticket)
        return followed is not None and len(followed.listeners) >= OF_TICKET_MAX

    def require_room(self, ticket: str, key_id: str) -> None:
        """Raises `TooMany` where a ticket or a key has as many as it may, `Unavailable` where all of them have."""
        remedy = {"remedy": "ask for decisions again meanwhile, and open the stream after Retry-After"}
        if self.is_full(ticket):
            raise TooMany(f"more than {OF_TICKET_MAX} streams of this address", remedy, RETRY_AFTER_S)
        if self.count >= self.streams_max:
            raise Unavailable(f"more than {self.streams_max} streams", remedy, RETRY_AFTER_S)
        if self._of_key[key_id] >= self.of_key_max:
            raise TooMany(f"more than {self.of_key_max} streams of this key", remedy, RETRY_AFTER_S)

    def add(self, followed: Followed, listener: Listener) -> Followed:
        """Lets a client listen; returns what stands for its ticket, which is `followed` where there was none."""
        followed = self.followed.setdefault(followed.ticket, followed)
        followed.listeners.append(listener)
        self.count += 1
        self._of_key[followed.subject.key_id] += 1
        return followed

    def remove(self, followed: Followed, listener: Listener) -> bool:
        """Forgets a client; whether it was the last one of its ticket, which is then forgotten too."""
        followed.listeners.remove(listener)
        self.count -= 1
        key_id = followed.subject.key_id
        self._of_key[key_id] -= 1
        if not self._of_key[key_id]:
            del self._of_key[key_id]
        if followed.listeners or self.followed.get(followed.ticket) is not followed:
            return False
        del self.followed[followed.ticket]
        return True

    def close(self, followed: Iterable[Followed]) -> None:
        """Ends the streams of these tickets. Each client is forgotten once its connection has ended."""
        for one in followed:
            for listener in one.listeners:
                listener.latest.close()
