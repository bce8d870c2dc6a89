"""Questions about an expression that is not saved: for whom it holds, and what it would cost to keep."""

from __future__ import annotations

from typing import Any

from expressions.batch.base_frames import base_parts
from expressions.batch.counting import counted, counted_for, distinct_ids
from expressions.batch.distribution import distribution
from expressions.batch.frames import column_of, person_answers, users_where, value_of
from expressions.definitions import Definition, DefinitionKind
from expressions.plan import plan
from expressions.rules.deletes import of_ids
from expressions.rules.values import to_json
from expressions.text.bind import bind_one
from serving.definitions.catalogue import decode
from serving.history import Source
from serving.lookups.typed_text import KEY
from serving.store import base_codec
from serving.times import rfc3339

#: Users that a cost is measured on, and how long their heavy bases would have to last.
COST_SAMPLE, HORIZON_MS = 200, 3_600_000


def preview(
    source: Source, catalogue_text: bytes, kind: DefinitionKind, text: str, now_ms: int, sample: int
) -> dict[str, Any]:
    """For how many of how many people an expression holds (S4) at `now_ms`, and some of them with values.

    Of a trait also how its values are spread over everybody.
    """
    catalogue = decode(catalogue_text)
    bound = bind_one(Definition(kind, KEY, text), catalogue.bounds)
    events = counted_for(source.history().events(), plan([bound.expr]), now_ms, catalogue.zone)
    answers = person_answers(events, [bound], now_ms, catalogue.zone)
    holding = users_where(answers, (kind, KEY))
    sampled = holding.head(sample).join(answers, on="id", how="left").sort("id")
    return {
        "count": len(holding),
        "total": len(answers),
        "sample": [
            {"id": id, "value": bool(answer["boolean"]) if kind != "trait" else to_json(value_of(answer))}
            for id, answer in sampled.select("id", column_of((kind, KEY))).iter_rows()
        ],
        "distribution": distribution(answers, (kind, KEY)) if kind == "trait" else None,
        "asof": rfc3339(now_ms),
    }


def cost(source: Source, catalogue_text: bytes, kind: DefinitionKind, text: str, now_ms: int) -> float | None:
    """Bytes of Redis a user that an expression takes by itself: the mean over some users of the lake.

    None where there are no users yet. An expression takes nothing for what other definitions keep already.
    """
    catalogue = decode(catalogue_text)
    needed = plan([bind_one(Definition(kind, KEY, text), catalogue.bounds).expr])
    events = source.history().events()
    ids = distinct_ids(events.select("id"))["id"]
    sampled = ids.sample(min(len(ids), COST_SAMPLE), seed=0)
    rows = counted(of_ids(events, sampled.to_list()))
    parts = base_parts(rows, needed, now_ms, HORIZON_MS)
    sizes = [len(base_codec.encode(base)) for part in parts for _, base, _ in part.bases()]
    return round(sum(sizes) / len(sampled), 1) if len(sampled) else None
