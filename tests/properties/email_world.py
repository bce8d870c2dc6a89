"""The world of the protocol with people who have emails too: its own ids and steps, so other walks stay as they are.

An email's hash owns devices and belongs to users, so whoever is known by all three is a chain of two links.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from serving.ids import raw_id, routed
from serving.store.logged_event import Accepted
from tests.properties.protocol_truth import DEVICES, IDS, USERS
from tests.properties.protocol_walk import KINDS, STEPS, Step
from tests.properties.protocol_world import World

EMAILS = ("email:aa", "email:bb")


class EmailWorld(World):
    """The world, with email hashes among its ids; counts people of several ids that were deleted by one of them."""

    ids = IDS + EMAILS
    deleted_by_email = 0

    def send_ids(self, user: str | None, email: str | None, device: str | None, kind: str) -> None:
        """An event that names several ids, of whatever kinds."""
        values = [None if id_ is None else raw_id(id_).value for id_ in (user, device, email)]
        number = len(self.sent)
        content: dict[str, Any] = {"name": kind, "properties": {"n": number}}
        if kind == "identify":
            content = {"traits": {"plan": f"p{number}", "city": f"c{number}"}}
        event = Accepted(
            f"e{number}",
            "identify" if kind == "identify" else "track",
            routed(*values),
            values[0],
            values[1],
            original_ts=self.now_ms,
            email_hash=values[2],
            **content,
        )
        self.sent.append(event)
        self.ingest([event])

    def alias(self, whose: int, previous: int) -> None:
        """Says that an id of any kind is a known user's."""
        if self.ids[previous] != USERS[whose]:
            user = raw_id(USERS[whose]).value
            event = Accepted(f"e{len(self.sent)}", "alias", USERS[whose], user, self.ids[previous])
            self.sent.append(event)
            self.ingest([event])

    def delete_person(self, whose: int) -> None:
        """Deletes the person that an id belongs to."""
        is_several = len(self.people.ids_of(self.ids[whose])) > 1
        self.deleted_by_email += self.is_open and is_several and self.ids[whose] in EMAILS
        super().delete_person(whose)


def some_ids(chance: random.Random) -> Sequence[Any]:
    """An email with a user, a device or both, and what happened."""
    user, device = chance.choice(((True, False), (False, True), (True, True)))
    return (
        chance.choice(USERS) if user else None,
        chance.choice(EMAILS),
        chance.choice(DEVICES) if device else None,
        chance.choice(KINDS),
    )


ANYONE = len(EmailWorld.ids)
EMAIL_STEPS: dict[str, Step] = STEPS | {
    "send": (32, lambda r: (r.randrange(ANYONE), *STEPS["send"][1](r)[1:])),
    "send_ids": (12, some_ids),
    "alias": (2, lambda r: (r.randrange(len(USERS)), r.randrange(ANYONE))),
    "unlink": (3, lambda r: (r.randrange(ANYONE),)),
    "delete_person": (4, lambda r: (r.randrange(ANYONE),)),
    "build": (6, lambda r: (r.choice((None, None, None, [r.randrange(ANYONE), r.randrange(ANYONE)])),)),
}
