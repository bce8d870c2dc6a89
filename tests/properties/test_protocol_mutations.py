"""Each rule of the protocol is needed: without it, some walk of the world goes wrong, so the tests have teeth.

A rule is switched off here, by editing the script's text or by putting another function in its place; the product has
no such switches. A mutation names the seed of a walk that shows it; should the walks change, the next ones are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from cli.embedded_redis import EmbeddedRedis
from expressions.batch.counting import deduplicate
from expressions.live.to_state import Frame
from expressions.rules import identity as people_of
from lake.lake import Lake
from pipelines import rebuild as rebuilding
from pipelines import recover as recovering
from serving.definitions.catalogue import Catalogue
from serving.people import deletion, gather, links
from serving.people.family import Family
from serving.store.scripts import claim, delete, ingest, members, publish, raise_numbers, replay, restore
from serving.store.scripts.script import Script
from tests.properties import protocol_walk, protocol_world
from tests.properties.link_world import LINK_STEPS, LinkWorld
from tests.properties.protocol_walk import Step, walk
from tests.properties.protocol_world import World

STEPS = 150
TRIES = 12


@dataclass(frozen=True)
class InScript:
    """A rule of a script, and the text without it."""

    rule: str
    module: ModuleType
    name: str
    old: str
    new: str
    seed: int = 0
    light_events_max: int = 256
    favour: tuple[str, ...] = ()
    leaving_out: tuple[str, ...] = ()
    #: The walk is one of `link_world`.
    of_links: bool = False
    known: Mapping[str, Step] = field(default_factory=lambda: protocol_walk.STEPS)

    def switch_off(self, patch: pytest.MonkeyPatch) -> None:
        """Edits the script's text."""
        script: Script[Any] = getattr(self.module, self.name)
        assert script.text.count(self.old) == 1, f"the rule is not where it was: {self.old}"
        patch.setattr(self.module, self.name, replace(script, text=script.text.replace(self.old, self.new)))


@dataclass(frozen=True)
class InPython:
    """A rule of a function, and what stands in its place."""

    rule: str
    owner: Any
    name: str
    without: Callable[[Any], Any]
    seed: int = 0
    light_events_max: int = 256
    favour: tuple[str, ...] = ()
    leaving_out: tuple[str, ...] = ()
    #: The walk is one of `link_world`.
    of_links: bool = False
    known: Mapping[str, Step] = field(default_factory=lambda: protocol_walk.STEPS)

    def switch_off(self, patch: pytest.MonkeyPatch) -> None:
        """Puts the other function in its place; it is given the right one."""
        patch.setattr(self.owner, self.name, self.without(getattr(self.owner, self.name)))


def _by_uri(append_to: Any) -> Any:
    """Writes through a table opened anew, so that a commit in between is not noticed."""
    return lambda lake, opened, rows, transactions: append_to(lake, DeltaTable(opened.table_uri), rows, transactions)


def _covering_one_more(stamp: Any) -> Any:
    """Says that a base covers one event more than its version has."""
    return lambda version, build, seq, *others: stamp(version, build, seq + 1, *others)


def _without_straddling(answer: Any) -> Any:
    """Does not say that a span reaches out of its window."""
    return lambda frame, evaluate: answer(frame, evaluate)._replace(straddled=False)


def _nothing(answer: Any) -> Any:
    """Steps that ask nothing."""
    yield from ()
    return answer


def _finds_nobody(left_behind: Any) -> Any:
    """A delete that trusts what was gathered before it."""
    return lambda operations, deleted: _nothing(dict[str, str]())


#: Steps by which Redis loses something and is recovered.
LOST = ("take_backup", "rewind", "wipe", "recover")
#: Steps that say whose ids are whose.
LINKS = ("send_together", "alias", "unlink", "delete_person")
FENCE = "if version < held_version or (version == held_version and build <= held_build) then return 0 end"

MUTATIONS: list[InScript | InPython] = [
    InScript(
        "a repeat of an event in the tail is a duplicate", ingest, "INGEST",
        "if is_recent(received, now) then copy, came = entry_seq, received end", "",
    ),
    InScript(
        "a repeat of an event that the base covers is a duplicate", ingest, "INGEST",
        "if received and is_recent(received, now) then copy, came = covered_seq, received end", "", seed=1,
    ),
    InScript(
        "a repeat after 24 h is a new event", ingest, "INGEST",
        "return now - received < 86400000", "return now - received < 3600000", seed=1,
    ),
    InScript(
        "an event from the future counts from its receipt", ingest, "INGEST",
        "if client_ts ~= '' and tonumber(client_ts) < now then", "if client_ts ~= '' then", seed=2,
    ),
    InScript(
        "a shard that was not recovered on this server takes nothing", ingest, "INGEST",
        "if redis.call('GET', ready) ~= run_id then return 'unready' end", "",
    ),
    InScript(
        "events projected by older definitions are sent back", ingest, "INGEST",
        "projection < tonumber(least_projection or 0) or checked", "checked", seed=2,
    ),
    InScript("a base never goes back", publish, "PUBLISH", FENCE, "", seed=1),
    InScript(
        "a base never goes back within a version", publish, "PUBLISH",
        FENCE, "if version < held_version then return 0 end", seed=8,
    ),
    InScript(
        "what a base covers leaves the tail", publish, "PUBLISH", "if seq <= covered then", "if false then", seed=6
    ),
    InScript("what a base does not cover stays", publish, "PUBLISH", "if seq <= covered then", "if true then", seed=17),
    InScript(
        "a tail's copy of an imported event leaves the tail", publish, "PUBLISH",
        "if copied and is_recent(copied, received) then fields[#fields + 1] = field end", "", seed=2,
    ),
    InScript(
        "a log goes on above the lake's", raise_numbers, "RAISE_NUMBERS",
        "if tonumber(value) > number then", "if field ~= 'seq' and tonumber(value) > number then", seed=5,
    ),
    InScript(
        "lost rows come back into records", replay, "REPLAY",
        "local is_new = seq > after", "local is_new = false", seed=5,
    ),
    InScript(
        "rows that a base covers do not come back", replay, "REPLAY",
        "local is_new = seq > after", "local is_new = true", seed=9,
        favour=("take_backup", "rewind", "build", "publish", "drain", "tick"),
    ),
    InScript(
        "a base does not bring back what was deleted since", publish, "PUBLISH",
        "if tombstone and struct.unpack('>I6', tombstone) > covered then return -1 end", "", seed=22,
    ),
    InScript(
        "rows from before a delete do not come back", replay, "REPLAY",
        "if tombstone then after = math.max(after, (struct.unpack('>I6', tombstone))) end", "",
        seed=18,
        favour=("drain", "delete_person", "take_backup", "rewind", "recover", "tick"),
    ),
    InScript(
        "a repeat of a deleted event is a duplicate", delete, "DELETE",
        "if is_recent(received, now) then kept[hash] = hash .. struct.pack('>I6I6', received, seq) end", "", seed=4,
    ),
    InScript(
        "what a delete takes is nobody's", delete, "DELETE",
        "redis.call('DEL', record, recent_key(record))",
        "redis.call('HDEL', record, 'b', 's'); redis.call('DEL', recent_key(record))", seed=4,
    ),
    InPython(
        "a rebuild leaves out what a delete covers", rebuilding, "counted",
        lambda counted: lambda events: deduplicate(events.filter(pl.col("kind") != "delete")), seed=1,
    ),
    InPython(
        "a recovery brings links and deletes back", recovering, "restore_ownership",
        lambda right: lambda *given: 0, seed=4,
    ),
    InPython(
        "a read asks each id whose it is", gather, "_belongs", lambda right: lambda member, person: True,
        seed=0, favour=(*LOST, "unlink", "send_together", "drain"),
    ),
    InPython(
        "a claim makes no link that was taken back since", protocol_world, "claims_with_receipts",
        lambda right: lambda claims, events, came_ms: [claim._replace(since_ms=2**47) for claim in claims],
        favour=("resend", "send_together", "unlink", "delete_person"), seed=3,
    ),
    InPython("a drain writes through the table that it checked", Lake, "append_to", _by_uri, seed=2),
    InPython("a base covers what its version has", rebuilding, "Stamp", _covering_one_more, seed=8),
    InPython(
        "a rebuild counts each event once", rebuilding, "counted",
        lambda counted: lambda events, ids=None: events if ids is None else counted(events, ids), seed=2,
    ),
    InPython(
        "an import and what comes 24 h after it both count", rebuilding, "counted",
        lambda counted: lambda events: counted(
            events.filter(pl.col("seq").is_not_null() | pl.col("seq").max().over("id", "event_id").is_null())
        ),
        known=protocol_walk.WITH_IMPORTS, seed=15,
    ),
    InPython(
        "a log of another life is given up", recovering, "is_of_another_life",
        lambda right: lambda *given: False, seed=19, favour=(*LOST, "send", "drain"),
    ),
    InPython(
        "what a base does not have is warming", Catalogue, "is_ready", lambda right: lambda *given: True
    ),
    InPython(
        "past its horizon a heavy base says so", Frame, "answer", _without_straddling, seed=9, light_events_max=2,
        leaving_out=LINKS,
    ),
    # ── whose an id is ──
    InScript(
        "the first claim on an id wins", claim, "CLAIM",
        "if is_link and owner_field then return {0, owner_field} end", "",
        seed=0, favour=("link_at_once",), of_links=True,
    ),
    InScript(
        "an unlink of what is nobody's is none", claim, "CLAIM",
        "if not is_link and not owner_field then return {0, ''} end", "",
        seed=4, favour=("link_at_once",), of_links=True,
    ),
    InScript(
        "a repeat makes no link of what was deleted a moment ago", claim, "CLAIM",
        "if is_first ~= 1 or ended_ms <= clock_ms() then return {-1, 0} end", "",
        seed=5, favour=("link_at_once", "unlink"), leaving_out=("send_together", "alias"),
        of_links=True,
    ),
    InScript(
        "what is unlinked is nobody's", claim, "CLAIM", "redis.call('HDEL', record, 'o')", "", favour=LINKS, seed=1
    ),
    InScript(
        "an unlink is remembered", claim, "CLAIM",
        "redis.call('HSET', record, 'u', struct.pack('>I6I6', seq, said))", "",
        seed=6, favour=("resend", "send_together", "unlink"),
    ),
    InScript(
        "an unlink that Redis lost comes back", restore, "RESTORE",
        " else redis.call('HDEL', record, 'o') end", " end",
        favour=("take_backup", "rewind", "recover", "unlink", "send_together", "drain"), seed=6,
    ),
    InScript(
        "a base of before a delete does not come back", restore, "RESTORE",
        "redis.call('HDEL', record, 'b', 's', 'r')", "",
        seed=11, favour=("take_backup", "rewind", "recover", "delete_person", "drain", "build", "finish"),
    ),
    InScript(
        "an id owns no more than so many", members, "MEMBERS", "elseif #members < most then",
        "elseif true then", seed=5, favour=("send_together", "alias"), leaving_out=(*LOST, "delete_person", "unlink"),
        of_links=True,
    ),
    InPython(
        "no id owns its owner", Family, "excess", lambda right: lambda family, claim: None, seed=6, favour=("alias",)
    ),
    InPython(
        "no id owns its owner when both are claimed at once", Family, "may_grow_meanwhile",
        lambda right: lambda family, claim: False,
        seed=2, favour=("link_at_once",), of_links=True,
    ),
    InPython(
        "a repeat makes no link to somebody who was deleted since", Family, "is_open",
        lambda right: lambda family, claim: True,
        favour=("resend", "cut_off", "delete_person"), of_links=True, seed=15,
    ),
    InPython(
        "a delete looks for what is left of the person", deletion, "left_behind", _finds_nobody,
        favour=("delete_and_die", "send_together", "alias"), of_links=True, seed=17,
    ),
    InPython(
        "who makes a link looks whether its owner was deleted", links, "_vain",
        lambda right: lambda operations, made: _nothing({}),
        favour=("link_at_once", "link_and_die"), of_links=True, seed=11,
    ),
    InPython(
        "a reader looks whether an owner was deleted since the claim", gather, "_is_in_force",
        lambda right: lambda owner, known: True,
        favour=("delete_and_die", "link_and_die", "send_together", "alias"), of_links=True, seed=7,
    ),
    InPython(
        "a list is put right after a change of its owner's ids", links, "settle_lists",
        lambda right: lambda operations, claims: _nothing(None),
        favour=("link_at_once",), of_links=True,
    ),
    InPython(
        "an unlink ends a link in the lake too", people_of, "owners",
        lambda owners: lambda events: owners(events.filter(pl.col("kind") != "unlink")),
        favour=("unlink", "send_together", "drain"), seed=14,
    ),
    InPython(
        "the drain opens a ring that killed callers left", links, "_open_rings",
        lambda right: lambda operations, claims: _nothing(None),
        seed=2, favour=("link_at_once", "link_and_die"), of_links=True,
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A server that these tests restart."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), settings={"appendfsync": "no"}) as started:
        yield started


@pytest.mark.deep(kept=3)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule.replace(" ", "_"))
def test_a_walk_shows_that_the_rule_is_needed(
    server: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutation: InScript | InPython
) -> None:
    """Without the rule an answer, an outcome or the lake is wrong, and the walk says so; with it the walk goes well."""
    mutation.switch_off(monkeypatch)
    seeds = range(mutation.seed, mutation.seed + TRIES)
    seed, steps = next(
        ((seed, steps) for seed in seeds if (steps := steps_until_wrong(server, tmp_path, mutation, seed)) is not None),
        (None, 0),
    )
    assert seed is not None, f"{TRIES} walks went well without the rule: {mutation.rule}"
    monkeypatch.undo()
    assert steps_until_wrong(server, tmp_path, mutation, seed, steps) is None, f"seed {seed} goes wrong anyway"


def steps_until_wrong(
    server: EmbeddedRedis, tmp_path: Path, mutation: InScript | InPython, seed: int, steps_max: int = STEPS + 1
) -> int | None:
    """The number of steps after which a walk of this mutation goes wrong, 0 before the first; None if it goes well."""
    steps = 0
    try:
        world = (LinkWorld if mutation.of_links else World)(
            server, Path(mkdtemp(dir=tmp_path)), mutation.light_events_max
        )
    except AssertionError:
        return 0
    try:
        known = LINK_STEPS if mutation.of_links else mutation.known
        for _ in walk(world, seed, STEPS, mutation.favour, mutation.leaving_out, known):
            if steps > steps_max:
                break
            steps += 1
    except Exception as error:  # whatever goes wrong: with the rule, none of these walks does
        print(f"seed {seed}: {error}")
        return steps
    finally:
        world.close()
    return None
