"""Who is in a segment: at an instant, over time, and in which others too. Also of a rule that nobody has saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl

from .._engine import (
    TREND_DAYS,
    Bound,
    Key,
    common_members,
    holding,
    instants_of_days,
    members_by_instant,
)
from .answers import Answers, column_in
from .definitions import card_of
from .times import MOMENT, Instant, ms_of, text_of

if TYPE_CHECKING:
    from .client import LakeClient


#: Days of a trend at most: a hundred years.
DAYS_MAX = 36_500


class Segment:
    """A saved segment, or a rule. Made by `LakeClient.segment`; answers are of people of today."""

    def __init__(self, client: LakeClient, rule: str, bound: Bound) -> None:
        self._client, self.rule, self._bound = client, rule, bound
        self._key: Key = (bound.definition.kind, bound.definition.key)

    def __repr__(self) -> str:
        return f"{self._client!r}.segment({self.rule!r})"

    def members(self, *, at: Instant | None = None) -> Answers:
        """`id` of each member at an instant, by default `LakeClient.now`, sorted. The card has `people`, of all."""
        now_ms = self._client._now_ms if at is None else ms_of("at", at)
        ids = [pl.Series("id", [], dtype=pl.String)]
        people = 0
        for answers in self._client._everybody([self._bound], [now_ms]):
            ids.append(answers.filter(holding(self._key))["id"])
            people += len(answers)
        frame = pl.concat(ids).sort().to_frame("id")
        return Answers(frame, self._card("members") | {"at": [text_of(now_ms)], "people": people})

    def trend(self, days: int = TREND_DAYS) -> Answers:
        """date, at, members, people: how many members it had at the end of each of the last days, and now.

        Days are those of the workspace's time zone, the oldest first. `people` are those of today.
        """
        if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= DAYS_MAX:
            raise ValueError(f"days {days!r}: give a whole number from 1 to {DAYS_MAX}")
        instants: dict[int, date] = instants_of_days(self._client._now_ms, self._client._zone, days)
        members: Counter[int] = Counter()
        people: Counter[int] = Counter()
        for answers in self._client._everybody([self._bound], list(instants)):
            for now, count, everybody in members_by_instant(answers, self._key).iter_rows():
                members[now] += count
                people[now] += everybody
        rows = [(day, at, members[at], people[at]) for at, day in instants.items()]
        columns: dict[str, Any] = {"date": pl.Date, "at": pl.Int64, "members": pl.Int64, "people": pl.Int64}
        frame = pl.DataFrame(rows, schema=columns, orient="row").with_columns(pl.col("at").cast(MOMENT))
        return Answers(frame, self._card("trend") | {"at": [text_of(now) for now in instants]})

    def overlap(self, others: Sequence[str] | None = None) -> Answers:
        """segment, members, both: how many are in each other segment now, and how many in both; the most first.

        `others` are saved segments or rules, by default all other saved segments. The card has `members` of this one,
        and `people`.
        """
        client = self._client
        texts = [key for key in client._definitions.keys("segment") if key != self.rule] if others is None else others
        if isinstance(texts, str):
            raise ValueError(f"others {texts!r}: give a list of segments or rules")
        bounds = {
            text: client._definitions.bound(text, number, is_rule=True) for number, text in enumerate(texts, start=1)
        }
        keys: dict[str, Key] = {text: (bound.definition.kind, bound.definition.key) for text, bound in bounds.items()}
        counts: Counter[str] = Counter()
        asked = list(dict.fromkeys([self._bound, *bounds.values()]))
        for answers in client._everybody(asked, [client._now_ms]):
            counts.update(common_members(answers, self._key, list(dict.fromkeys(keys.values()))))
        rows = [
            (text, counts[f"in {column_in(bound)}"], counts[f"both {column_in(bound)}"])
            for text, bound in bounds.items()
        ]
        columns: dict[str, Any] = {"segment": pl.String, "members": pl.Int64, "both": pl.Int64}
        frame = pl.DataFrame(rows, schema=columns, orient="row").sort("both", "segment", descending=[True, False])
        card = self._card("overlap", bounds)
        return Answers(
            frame,
            card | {"at": [text_of(client._now_ms)], "members": counts["own"], "people": counts["people"]},
        )

    def sql(self, dialect: str = "duckdb", *, at: Instant | None = None, table: str = "events") -> str:
        """One SELECT that says of each person whether the segment holds (`LakeClient.sql`)."""
        return self._client._sql(self._bound, dialect, at, table)

    def _card(self, question: str, others: dict[str, Bound] | None = None) -> dict[str, Any]:
        bounds = {self.rule: self._bound, **(others or {})}
        definitions = {name: card_of(bound) for name, bound in bounds.items()}
        return {"question": question, "segment": self.rule, **self._client._source(), "definitions": definitions}
