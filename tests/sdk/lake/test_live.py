"""What the engine answered live comes back from the lake: the same values to the bit, at any instant of a history."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tinycdp

from expressions.rules.values import Value
from expressions.rules.windows import DAY_MS
from pipelines.importing.import_file import import_file
from pipelines.importing.terms import Reading
from serving.ids import named_as, namespaced, record_of
from serving.people.deletion import delete_person
from serving.people.gather import gather
from serving.people.links import complete_links, unlink_id
from tests.chance import part_of
from tests.pipelines.world import World, empty_world
from tests.sdk.lake.rows import values_of
from tests.waiting import wait_until

TRAITS = {
    "visits": "events.visit.count",
    "visits_7d": "events.visit.count_7d",
    "spent_30d": "events.visit.amount.sum_30d",
    "mean_90m": "events.visit.amount.avg_90m",
    "plan": "profile.plan",
    "days": "unique_days_14d",
    "quiet": "last_seen_minutes_ago",
    "amounts": "events.visit.amount.values_30d",
    "last_note": "events.visit.note.last",
    "usual": "events.visit.amount.most_frequent",
    "slot": 'bucket("salt")',
}
SEGMENTS = {"busy": 'visits_7d >= 2 && plan != "free"', "all": 'segment("busy") || spent_30d > 20'}
USERS = ["ann", "bob", "cem", "dot"]
DEVICES = ["d1", "d2", "d3", "d4", "d5"]
AGES_MS = [0, 0, 1_000, 5_400_000, 7 * DAY_MS, 20 * DAY_MS, 40 * DAY_MS]
NOTES = ["a", 1, 2.5, True, ["x", 1], None]


class Recorded(NamedTuple):
    """What was answered for an id at an instant, and the ids that were the person's."""

    id: str
    now_ms: int
    members: frozenset[str]
    values: dict[str, Value]


class History:
    """A history by chance, with late and repeated calls, drains and rebuilds; and what was answered."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world, self.chance = world, chance
        self.recorded: list[Recorded] = []
        self.deleted: set[str] = set()
        self._sent: list[dict[str, Any]] = []
        self._acts = 0

    def step(self) -> None:
        """One call or more, or work beside them."""
        chance, operations = self.chance, self.world.store.operations
        self._acts += 1
        match chance.choices(
            ["send", "again", "alias", "unlink", "delete", "drain", "rebuild", "ask"], [12, 3, 2, 2, 0.3, 2, 1, 8]
        )[0]:
            case "send":
                self._send([self._call() for _ in range(chance.randint(1, 3))])
            case "again" if self._sent:
                self._send(chance.choices(self._sent, k=2))
            case "alias":
                user, previous = chance.choice(USERS), chance.choice([*DEVICES, *(f"user:{user}" for user in USERS)])
                self._send([{"type": "alias", "messageId": f"a{self._acts}", "previousId": previous, "userId": user}])
            case "unlink":
                self.world.store.follow(unlink_id(operations, self._id(), f"u{self._acts}"))
            case "delete":
                id = self._id()
                # Of a small person: else nobody would be left to compare.
                if len(self.world.store.follow(gather(operations, id)).records) <= 2:
                    self.deleted |= self.world.store.follow(delete_person(operations, id, f"x{self._acts}")).keys()
            case "drain":
                self.world.drain().step()
            case "rebuild":
                self.world.rebuild()
            case "ask":
                for _ in range(3):
                    self._ask(self._id())

    def _id(self) -> str:
        return self.chance.choice([*(namespaced("user", user) for user in USERS), *(f"anon:{one}" for one in DEVICES)])

    def _call(self) -> dict[str, Any]:
        chance = self.chance
        user, device = chance.choice([*USERS, None]), chance.choice([*DEVICES, None])
        ids = {"userId": user, "anonymousId": device if user is not None else device or "d1"}
        at_ms = self.world.store.now_ms() - chance.choice(AGES_MS)
        call: dict[str, Any] = {name: id for name, id in ids.items() if id is not None}
        call |= {"messageId": f"m{self._acts}-{chance.random()}", "timestamp": at_ms}
        if chance.random() < 0.2:
            return call | {"type": "identify", "traits": {"plan": chance.choice(["free", "pro", 3, None])}}
        fields = {"amount": chance.choice([0.1, 0.2, 7, 12.345678]), "note": chance.choice(NOTES)}
        return call | {"type": "track", "event": "visit", "properties": fields}

    def _send(self, calls: list[dict[str, Any]]) -> None:
        self.world.ingest(calls)
        self._sent += calls

    def _ask(self, id: str) -> None:
        """Notes what is answered now. What comes later comes a millisecond later."""
        reading = self.world.store.follow(gather(self.world.store.operations, record_of(id)))
        answers = self.world.answers(id)
        assert answers.exact and not answers.warming
        values = {key: answer.value for (_, key), answer in answers.values.items()}
        members = frozenset(record.id for record in reading.records)
        self.recorded.append(Recorded(id, answers.now_ms, members, values))
        wait_until(lambda: self.world.store.now_ms() > answers.now_ms, "another millisecond")


@pytest.mark.deep(kept=1)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(part_of(12)))
def test_what_was_answered_live_comes_back(redis_url: str, tmp_path: Path, seed: int) -> None:
    """By `received` each label is answered as the engine answered at its instant, with the links of then.

    Whom a delete covers is in no answer any more, so what was said of them is not compared.
    """
    world = empty_world(redis_url, tmp_path, "trait", TRAITS)
    world.define("segment", SEGMENTS)
    history = History(world, random.Random(seed))
    for _ in range(120):
        history.step()
    while world.drain().step().rows:
        pass

    known = [one for one in history.recorded if not one.members & history.deleted]
    random.Random(seed).shuffle(known)
    labels = {"id": [named_as(one.id) for one in known], "ts": [one.now_ms for one in known]}
    cdp = tinycdp.lake(tmp_path / "lake")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tinycdp.UnknownIds)  # some were asked about who never sent anything
        answers = cdp.asof(labels, [*TRAITS, *SEGMENTS], known="received")

    assert len(known) > 20
    for key in (*TRAITS, *SEGMENTS):
        assert repr(values_of(answers[key])) == repr([one.values[key] for one in known]), key


DEVICE = {"type": "track", "event": "visit", "anonymousId": "d1", "messageId": "v", "timestamp": "2024-11-01T00:00:00Z"}
LOGIN = {
    "type": "identify",
    "userId": "ann",
    "anonymousId": "d1",
    "messageId": "l",
    "timestamp": "2024-11-02T00:00:00Z",
}
LOGIN_MS = 1_730_505_600_000
NOW = {"type": "track", "event": "seen", "userId": "ann", "anonymousId": "d1", "messageId": "n"}


def import_events(world: World, path: Path, *events: dict[str, Any]) -> None:
    """Imports events as apps send them, with their links, and drains these."""
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    import_file(
        world.lake,
        path,
        reading=Reading(as_sent=True),
        now_ms=world.store.now_ms(),
        shards=world.settings.shards,
        link=lambda claiming: world.store.follow(complete_links(world.store.operations, claiming)),
    )
    world.drain().step()


def visits_around(world: World, path: Path, instants: list[int], known: Any) -> list[Any]:
    """The visits of ann, then of the device, at each instant."""
    cdp = tinycdp.lake(path)
    labels = {"id": ["ann"] * len(instants) + ["anon:d1"] * len(instants), "ts": instants * 2}
    return cdp.asof(labels, "visits", known=known)["visits"].to_list()


@pytest.mark.parametrize("is_linked", [False, True])
def test_the_links_of_a_file_are_known_from_their_own_time_on(redis_url: str, tmp_path: Path, is_linked: bool) -> None:
    """By `received`, too, as imported events; whether the file made the links, or an app had made them before."""
    world = empty_world(redis_url, tmp_path, "trait", {"visits": "events.visit.count"})
    before_ms = world.store.now_ms() - 1
    if is_linked:
        world.ingest([NOW])
        world.drain().step()
    import_events(world, tmp_path / "events.jsonl", DEVICE, LOGIN)
    instants = [LOGIN_MS - 1, LOGIN_MS, before_ms, world.store.now_ms() + 1]

    for known in ("event_time", "received"):
        assert visits_around(world, tmp_path / "lake", instants, known) == [0, 1, 1, 1, 1, 1, 1, 1]
    cdp = tinycdp.lake(tmp_path / "lake")
    assert cdp.traits("visits", at=before_ms).frame.select("id", "visits").rows() == [("user:ann", 1)]


@pytest.mark.parametrize("order", ["late", "later named", "imported after", "one request"])
def test_a_link_is_known_from_its_oldest_event_on(redis_url: str, tmp_path: Path, order: str) -> None:
    """Whether it made the link or came when the link was there; live, in one request with others, or with a file."""
    world = empty_world(redis_url, tmp_path, "trait", {"visits": "events.visit.count"})
    before_ms = world.store.now_ms() - 1
    match order:
        case "late":
            requests = [[DEVICE], [LOGIN]]
        case "later named":
            requests = [[DEVICE], [NOW], [LOGIN]]
        case "imported after":
            requests = [[DEVICE], [NOW]]
        case _:
            requests = [[DEVICE, LOGIN, NOW]]
    for request in requests:
        world.ingest(request)
    world.drain().step()
    if order == "imported after":
        import_events(world, tmp_path / "events.jsonl", LOGIN)
    instants = [LOGIN_MS - 1, LOGIN_MS, before_ms, world.store.now_ms() + 1]

    assert visits_around(world, tmp_path / "lake", instants, "event_time") == [0, 1, 1, 1, 1, 1, 1, 1]
    assert visits_around(world, tmp_path / "lake", instants, "received")[2:4] == [0, 1]


@pytest.mark.parametrize(
    ("call", "id"),
    [
        ({"type": "identify", "userId": "ann", "emailHash": "9c" * 32}, "email:" + "9c" * 32),
        ({"type": "alias", "userId": "ann", "previousId": "old"}, "user:old"),
        ({"type": "alias", "userId": "ann", "previousId": "anon:old"}, "anon:old"),
        ({"type": "identify", "emailHash": "9c" * 32, "anonymousId": "d1"}, "anon:d1"),
    ],
)
def test_links_of_all_kinds_are_known_from_their_own_time_on(
    redis_url: str, tmp_path: Path, call: dict[str, Any], id: str
) -> None:
    """Email hashes, aliases of users and of devices, and devices of an email hash."""
    world = empty_world(redis_url, tmp_path, "trait", {"slot": 'bucket("s")'})
    world.ingest([call | {"messageId": "m", "timestamp": "2024-11-02T00:00:00Z"}])
    world.drain().step()
    owner = namespaced("user", "ann") if "userId" in call else "email:" + "9c" * 32
    labels = {"id": [id, id, owner], "ts": [LOGIN_MS - 1, LOGIN_MS, LOGIN_MS]}

    apart, together, of_owner = tinycdp.lake(tmp_path / "lake").asof(labels, "slot", known="event_time")["slot"]

    assert apart != together
    assert together == of_owner


def test_what_is_taken_apart_is_together_until_then(redis_url: str, tmp_path: Path) -> None:
    """An unlink holds from its receipt on, a delete at every instant."""
    world = empty_world(redis_url, tmp_path, "trait", {"visits": "events.visit.count"})
    world.ingest([DEVICE])
    world.ingest([LOGIN])
    unlinked_from_ms = world.store.now_ms() + 1
    wait_until(lambda: world.store.now_ms() > unlinked_from_ms, "another millisecond")
    world.store.follow(unlink_id(world.store.operations, "anon:d1", "u"))
    world.drain().step()
    instants = [LOGIN_MS - 1, LOGIN_MS, unlinked_from_ms, world.store.now_ms() + 1]

    assert visits_around(world, tmp_path / "lake", instants, "event_time") == [0, 1, 1, 0, 1, 1, 1, 1]

    world.store.follow(delete_person(world.store.operations, "user:ann", "x"))
    world.drain().step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tinycdp.UnknownIds)
        assert visits_around(world, tmp_path / "lake", instants, "event_time") == [0, 0, 0, 0, 1, 1, 1, 1]
