"""Whose each id was at each instant, over frames: the rule of `identity` with the acts that were known by then.

    acts           links and unlinks, after deletes, each with the instant from which it is known
    `owner_spans`  id, owner, since: whose the id was, by its own acts alone; the owner is null where it was nobody's
    `person_spans` id, person, since, until: whose it was by the chains of owners; a row a span
    `groups`       id, person: one name for all ids that were ever one person's, so that these can be kept together

A span is half-open: from `since` up to, but not at, `until`. The spans of an id cover all of time. Ids that never
belonged to another have none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import groupby
from operator import itemgetter

import polars as pl

from .identity import LINK_KINDS, roots
from .windows import BEGINNING_MS, END_MS

_OWNER_SPANS = {"id": pl.String, "owner": pl.String, "since": pl.Int64}
_PERSON_SPANS = {"id": pl.String, "person": pl.String, "since": pl.Int64, "until": pl.Int64}


def person_spans(acts: pl.LazyFrame, known_at: pl.Expr) -> pl.DataFrame:
    """id, person, since, until of each id that ever belonged to another, unordered. Deletes are applied before.

    `known_at` says of each link and unlink from which instant, UTC ms, it counts.
    """
    spans = owner_spans(acts, known_at)
    owned = spans.select("id").unique()
    # Most owners never belong to anybody, and there may be millions of them: only the others are followed one by one.
    chained = spans.join(owned.select(pl.col("id").alias("owner")), on="owner", how="semi").select("id").unique()
    direct = spans.join(chained, on="id", how="anti").sort("id", "since")
    until = pl.col("since").shift(-1).over("id").fill_null(END_MS).alias("until")
    ends = direct.select("id", pl.coalesce("owner", "id").alias("person"), "since", until)
    return pl.concat([ends, _followed(chained["id"], spans)])


def owner_spans(acts: pl.LazyFrame, known_at: pl.Expr) -> pl.DataFrame:
    """id, owner, since: one row for each time that the owner of an id changed, the first of each at the beginning.

    At an instant an id belongs to the owner of its first link, by seq, after its last unlink, of the acts that are
    known by then. Links that deletes cover are no acts.
    """
    rows = (
        acts.filter(pl.col("kind").is_in(LINK_KINDS))
        .select("id", "kind", "seq", pl.col("name").alias("owner"), known_at.alias("since"))
        .collect()
    )
    linked = rows.join(rows.filter(pl.col("kind") == "link"), on="id", how="semi")
    is_alone = pl.len().over("id") == 1
    alone = linked.filter(is_alone).select("id", "owner", "since")  # nearly all: linked once, and left so
    unowned = alone.with_columns(pl.lit(None, dtype=pl.String).alias("owner"), pl.lit(BEGINNING_MS).alias("since"))
    several = linked.filter(~is_alone).sort("id", "seq")
    changes: list[tuple[str, str | None, int]] = []
    for (id,), own in several.partition_by("id", as_dict=True).items():
        acts_of_id = list(own.select("seq", "kind", "owner", "since").iter_rows())
        changes += [(id, owner, since) for since, owner in _changes(acts_of_id)]
    followed = pl.DataFrame(changes, schema=_OWNER_SPANS, orient="row")
    return pl.concat([frame.cast(_OWNER_SPANS) for frame in (unowned, alone, followed)])  # type: ignore[arg-type]


def _changes(acts: Sequence[tuple[int, str, str, int]]) -> Iterable[tuple[int, str | None]]:
    """(since, owner) of each change, from the acts (seq, kind, owner, since) of an id."""
    last: str | None = None
    yield BEGINNING_MS, None
    # A device that many share is linked and unlinked thousands of times: each act is looked at once.
    links: list[tuple[int, str]] = []
    unlinked = -1
    for now, known in groupby(sorted(acts, key=itemgetter(3)), key=itemgetter(3)):
        for seq, kind, named, _ in known:
            if kind == "link":
                heappush(links, (seq, named))
            else:
                unlinked = max(unlinked, seq)
        while links and links[0][0] < unlinked:
            heappop(links)
        owner = links[0][1] if links else None
        if owner != last:
            yield now, owner
            last = owner


def _followed(chained: pl.Series, spans: pl.DataFrame) -> pl.DataFrame:
    """The spans of persons of all ids whose owners belonged to others. Takes the time of what it gives, nearly."""
    # An owner whose own owner belonged to another is among these ids itself, so above them is one step alone.
    ids = chained.implode()
    above = spans.filter(pl.col("id").is_in(ids))["owner"].drop_nulls().unique().implode()
    # At the beginning, nobody's comes before somebody's.
    rising = spans.filter(pl.col("id").is_in(ids) | pl.col("id").is_in(above)).sort(
        "since", pl.col("owner").is_not_null()
    )
    owner_of: dict[str, str] = {}
    below: defaultdict[str, set[str]] = defaultdict(set)
    person_of: dict[str, str] = {}
    wanted = frozenset(chained)
    rows: list[tuple[str, str, int]] = []
    for since, changes in groupby(rising.select("since", "id", "owner").iter_rows(), key=itemgetter(0)):
        changed = []
        for _, id, owner in changes:
            changed.append(id)
            if id in owner_of:
                below[owner_of.pop(id)].discard(id)
            if owner is not None:
                owner_of[id] = owner
                below[owner].add(id)
        moved = _downward(changed, below)
        # Chains above these have not changed: their ends are known.
        owners = {id: owner_of[id] for id in moved if id in owner_of}
        root_of = roots({id: owner if owner in moved else person_of.get(owner, owner) for id, owner in owners.items()})
        for id in moved:
            person = root_of.get(id, id)
            if person_of.get(id) != person:
                person_of[id] = person
                if id in wanted:
                    rows.append((id, person, since))
    starts = pl.DataFrame(rows, schema={"id": pl.String, "person": pl.String, "since": pl.Int64}, orient="row")
    until = pl.col("since").shift(-1).over("id").fill_null(END_MS).alias("until")
    return starts.sort("id", "since").with_columns(until)


def _downward(ids: Iterable[str], below: Mapping[str, Iterable[str]]) -> dict[str, None]:
    """The same ids, and all whose chains of owners pass them."""
    found: dict[str, None] = {}
    waiting = list(ids)
    while waiting:
        id = waiting.pop()
        if id not in found:
            found[id] = None
            waiting += below.get(id, ())
    return found


def groups(spans: pl.DataFrame) -> pl.DataFrame:
    """id, person: for every id whose group has another name than the id; the name is one of the group's ids.

    All ids that were ever one person's are in one group. An id that stands alone is the name of its own group.
    """
    pairs = spans.filter(pl.col("person") != pl.col("id")).select("id", "person").unique()
    # Most ids had one person, who was nobody else's; only the others have to be followed.
    is_tangled = (
        (pl.len().over("id") > 1)
        | pl.col("person").is_in(pairs["id"].implode())
        | pl.col("id").is_in(pairs["person"].implode())
    )
    root: dict[str, str] = {}

    def name_of(id: str) -> str:
        while (above := root.get(id, id)) != id:
            root[id] = root.get(above, above)
            id = above
        return id

    for id, person in pairs.filter(is_tangled).iter_rows():
        root[name_of(id)] = name_of(person)
    named = {id: name_of(id) for id in [*root]}
    tangled = pl.DataFrame(
        {"id": list(named), "name": list(named.values())}, schema={"id": pl.String, "name": pl.String}
    )
    direct = pairs.filter(~is_tangled)
    followed = direct.join(tangled.select(pl.col("id").alias("person"), "name"), on="person", how="left")
    ends = followed.select("id", pl.coalesce("name", "person").alias("person"))
    own = tangled.filter(pl.col("id") != pl.col("name")).select("id", pl.col("name").alias("person"))
    return pl.concat([ends, own])


def persons_at(asked: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """The same rows, in order, with a column `person`: whose the row's `id` was at its instant `now`."""
    numbered = asked.with_row_index("_place")
    found = _spans_at(numbered.select("_place", "id", "now"), spans).select("_place", "person")
    joined = numbered.join(found, on="_place", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("person", "id").alias("person")).drop("_place")


def members_at(asked: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """row, id: every id that was the person's at its instant, the person's own too. `asked` has row, person, now."""
    ever = spans.select("id", pl.col("person").alias("asked")).unique()
    candidates = asked.select("row", "now", pl.col("person").alias("asked")).join(ever, on="asked")
    inside = _spans_at(candidates, spans).filter(pl.col("person") == pl.col("asked"))
    # A person that never belonged to another has no span of its own.
    own = asked.join(spans.select(pl.col("id").alias("person")), on="person", how="anti")
    return pl.concat([inside.select("row", "id"), own.select("row", pl.col("person").alias("id"))])


def spans_of(people: pl.Series, spans: pl.DataFrame) -> pl.DataFrame:
    """All spans of the ids that ever were one of these people's, or are one: what `members_at` reads of `spans`."""
    ids = spans.filter(pl.col("person").is_in(people.unique().implode()))["id"].unique()
    return spans.filter(pl.col("id").is_in(ids.implode()) | pl.col("id").is_in(people.unique().implode()))


def _spans_at(rows: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """The rows (id, now and others), in any order, with `person` of the id's span then; null where the id has none.

    One span is found for each row: an id with thousands of spans may be asked for thousands of times.
    """
    starts = spans.filter(pl.col("since") < pl.col("until")).select("id", "person", "since").sort("since")
    return rows.sort("now").join_asof(
        starts, left_on="now", right_on="since", by="id", strategy="backward", check_sortedness=False
    )
