"""Whose an id was at an instant is whose it is by the acts that were known by then, whatever acts chance makes."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.rules.identity import persons
from expressions.rules.persons_over_time import groups, members_at, person_spans, persons_at
from tests.chance import part_of_examples, seeded

IDS = ["a", "b", "c", "d", "e"]
#: (id, owner or None for an unlink, when it is known): in order of seq. Rings and acts of one instant are among them.
ACTS = st.lists(
    st.tuples(st.sampled_from(IDS), st.sampled_from([*IDS, None]), st.integers(0, 6)).filter(
        lambda act: act[0] != act[1]
    ),
    max_size=10,
)


def frame_of(acts: list[tuple[str, str | None, int]]) -> pl.LazyFrame:
    """Acts as rows of the frame of events."""
    rows = [
        {"id": id, "kind": "unlink" if owner is None else "link", "seq": seq, "name": owner, "ts": at, "event_id": ""}
        for seq, (id, owner, at) in enumerate(acts)
    ]
    columns = {"id": pl.String, "kind": pl.String, "seq": pl.Int64, "name": pl.String, "ts": pl.Int64}
    return pl.DataFrame(rows, schema=columns | {"event_id": pl.String}).lazy()


def asked_at(instants: range) -> pl.DataFrame:
    """Each id at each instant."""
    return pl.DataFrame([(id, now) for id in IDS for now in instants], schema=["id", "now"], orient="row")


@seeded
@given(acts=ACTS)
def test_a_person_at_an_instant_is_by_the_acts_known_then(acts: list[tuple[str, str | None, int]]) -> None:
    """The rule of today, of the acts up to the instant, gives the same; so do the members of a person."""
    events = frame_of(acts)
    spans = person_spans(events, pl.col("ts"))
    asked = asked_at(range(-1, 8))

    found = persons_at(asked, spans)

    assert found.select("id", "now").equals(asked)
    for now in range(-1, 8):
        known = dict(persons(events.filter(pl.col("ts") <= now)).iter_rows())
        at = dict(found.filter(pl.col("now") == now).select("id", "person").iter_rows())
        assert at == {id: known.get(id, id) for id in IDS}
        questions = pl.DataFrame({"row": range(len(IDS)), "person": IDS, "now": [now] * len(IDS)})
        members = members_at(questions, spans).group_by("row").agg("id").rows()
        assert {IDS[row]: set(ids) for row, ids in members} == {
            person: {id for id in IDS if at[id] == person} for person in set(at.values())
        }


@part_of_examples(1)
@given(acts=ACTS)
def test_a_group_has_all_who_were_ever_one_person(acts: list[tuple[str, str | None, int]]) -> None:
    """Two ids are in one group if a chain of ids was, two at a time, one person's; and in no other case."""
    spans = person_spans(frame_of(acts), pl.col("ts"))
    group_of = {id: id for id in IDS} | dict(groups(spans).iter_rows())

    together = {id: {id} for id in IDS}
    for id, person, since, until in spans.iter_rows():
        if since < until:
            merged = together[id] | together[person]
            together |= dict.fromkeys(merged, merged)

    for id in IDS:
        assert {other for other in IDS if group_of[other] == group_of[id]} == together[id]
        assert group_of[id] in together[id]


@pytest.mark.timeout(30)
def test_a_device_that_many_share_is_followed_at_once() -> None:
    """A till that 10,000 users signed in at, each known by an e-mail address too, takes about a second, not minutes."""
    users = 10_000
    acts: list[tuple[str, str | None, int]] = []
    for user in range(users):
        acts += [(f"user:{user}", f"email:{user}", 0), ("anon:till", f"user:{user}", 10 * user + 1)]
        acts.append(("anon:till", None, 10 * user + 6))

    spans = person_spans(frame_of(acts), pl.col("ts"))

    asked = pl.DataFrame({"id": ["anon:till"] * 4, "now": [0, 1, 10 * users - 9, 10 * users]})
    assert persons_at(asked, spans)["person"].to_list() == ["anon:till", "email:0", f"email:{users - 1}", "anon:till"]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("is_upward", [True, False])
def test_a_long_chain_is_followed_in_the_time_of_its_answer(is_upward: bool) -> None:
    """1,000 ids that were aliased one after the other; took three minutes. Upwards each alias moves all before it."""
    count = 1_000
    pairs = [(f"a{number:04}", f"a{number + 1:04}") for number in range(count)]
    acts = [(*pair, now) for now, pair in enumerate(pairs if is_upward else pairs[::-1])]

    spans = person_spans(frame_of(acts), pl.col("ts"))

    assert len(spans) == (count * (count + 3) // 2 if is_upward else 2 * count)
    asked = pl.DataFrame({"id": ["a0000"] * 3, "now": [-1, count // 2, count]})
    wanted = ["a0000", f"a{count // 2 + 1:04}" if is_upward else "a0000", f"a{count:04}"]
    assert persons_at(asked, spans)["person"].to_list() == wanted
