"""What API processes did, added up over all of them: by minute, and by day for each flag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import pairs
from serving.store.operations.sharded import Sharded
from serving.store.requests import Command, Request, chunks, command
from serving.store.scripts import add_counts

#: How long a minute and a day are kept, and how long it is known since when there is a record: one of each too long,
#: since the last one is not over yet.
MINUTE_TTL_S, DAY_TTL_S = 49 * 3_600, 91 * 86_400
#: Fields of a minute, and of a day: what more would come is left out.
MINUTE_FIELDS_MAX, DAY_FIELDS_MAX = 100, 10_000
#: Fields that one call adds to.
FIELDS_AT_ONCE = 1_000


class ActivityOperations(Sharded):
    """The operations on activity."""

    @operation
    def add_activity(
        self,
        now_ms: int,
        minute: int,
        of_minute: Mapping[str, int],
        day: int,
        of_day: Mapping[str, int],
        last: Mapping[str, int],
    ) -> Request[None]:
        """Adds to the numbers of a minute and of a day, and puts the `last` of the day in the place of its older ones.

        Raises `StoreFull` while memory is full.
        """
        commands = [command("SET", keys.activity_since(), now_ms, "NX", "EX", DAY_TTL_S)]
        commands.append(command("EXPIRE", keys.activity_since(), DAY_TTL_S))
        commands += _adds(keys.activity_minute(minute), MINUTE_TTL_S, MINUTE_FIELDS_MAX, of_minute)
        commands += _adds(keys.activity_day(day), DAY_TTL_S, DAY_FIELDS_MAX, of_day)
        if last:
            commands.append(command("HSET", keys.activity_day(day), *(word for pair in last.items() for word in pair)))
            commands.append(command("EXPIRE", keys.activity_day(day), DAY_TTL_S))
        return Request(commands, lambda replies: None)

    @operation
    def activity_minutes(self, minutes: range) -> Request[list[dict[str, int]]]:
        """The numbers of each of these minutes, by name."""
        return Request([command("HGETALL", keys.activity_minute(minute)) for minute in minutes], _numbers, is_long=True)

    @operation
    def activity_days(self, days: range) -> Request[list[dict[str, int]]]:
        """The numbers of each of these days, by name."""
        return Request([command("HGETALL", keys.activity_day(day)) for day in days], _numbers, is_long=True)

    @operation
    def activity_since_ms(self) -> Request[int | None]:
        """From when on there is a record, UTC ms; None where there is none."""
        return Request([command("GET", keys.activity_since())], lambda replies: replies[0] and int(replies[0]))


def _adds(key: str, ttl_s: int, fields_max: int, counts: Mapping[str, int]) -> list[Command]:
    return [
        add_counts.command(key, ttl_s, fields_max, dict(part)) for part in chunks(list(counts.items()), FIELDS_AT_ONCE)
    ]


def _numbers(replies: list[Any]) -> list[dict[str, int]]:
    return [{name: int(number) for name, number in pairs(reply)} for reply in replies]
