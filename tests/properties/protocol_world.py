"""A small world around the protocol: a real Redis, a real lake, the product's own drain, rebuild and recovery, and the
plain truth beside them.

Every step is a method, and any of them may come at any time. After each, `check` reads every id and compares its person
with brute force over what was acknowledged. A rebuild stops before it publishes, so that its records go out one by one,
in any order, again, or long after a newer one. The world has its own clock, in a year that no server's clock has
reached; the shards follow it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pytest
import redis

from cli.embedded_redis import EmbeddedRedis
from expressions.batch.counting import counted
from expressions.batch.frames import answer_frame, values_of
from expressions.definitions import Definition
from expressions.rules.identity import people
from expressions.rules.windows import DAY_MS
from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.drain import Drain
from pipelines.importing.import_file import import_file
from pipelines.importing.noted_imports import Note, noted_imports
from pipelines.importing.report import Imported
from pipelines.publish import send
from pipelines.rebuild import cover, covered_by, rebuild
from pipelines.recover import recover
from pipelines.undo import undo_import
from serving.definitions.catalogue import Catalogue, decode
from serving.definitions.saving import delete, save, write_down
from serving.ids import raw_id, shard_of
from serving.ingest.projection import tail_payload
from serving.people.deletion import delete_person
from serving.people.gather import gather
from serving.people.links import claims_of, claims_with_receipts, distinct_claims, link_claims, unlink_id
from serving.people.person import DecodedBases, person
from serving.refusals import Unavailable
from serving.settings import Settings
from serving.store.errors import ProjectionOutdated, ServerReplaced, ShardNotReady
from serving.store.layout import RECENT_ENTRY_BYTES
from serving.store.logged_event import Accepted, LogEntry
from serving.store.operations.events import Arrival
from serving.store.operations.links import Claim
from serving.store.records import Reading, Record
from serving.store.scripts import publish, stage
from serving.store.scripts.ingest import Outcome
from serving.store.scripts.members import MEMBERS_MAX
from serving.store.scripts.publish import BaseRecord
from serving.store.stamps import Stamp
from tests.properties.people import People
from tests.properties.protocol_stores import SHARDS, Pending, Stopped, WithholdingStore, WorldStore
from tests.properties.protocol_truth import AT_FIRST, DEFINITIONS, DEVICES, IDS, USERS, Copy, brute_force, once


def _name(entry: LogEntry) -> tuple[str, str, int, int]:
    """The fields that tell an entry of the log from any other."""
    return entry.event.id, entry.event.event_id, entry.ts_ms, entry.received_ms


#: When events made each claim, (id, owner): the receipts of those events, in ms. That of a new event is now.
ClaimTimes: TypeAlias = dict[tuple[str, str], list[int]]


class World:
    """The system and the truth about it. `light_events_max` as in the settings."""

    #: The ids that events are about, each of which is read after every step.
    ids: Sequence[str] = IDS

    def __init__(self, server: EmbeddedRedis, folder: Path, light_events_max: int = 256) -> None:
        self.server = server
        self.client = redis.Redis.from_url(server.url, protocol=2)
        self.client.flushall()
        self.folder = folder
        self.settings = Settings(home=folder, shards=SHARDS, light_events_max=light_events_max, rebuild_interval_s=900)
        self.store = WorldStore(server.url, SHARDS)
        self.lake = Lake(str(folder / "lake"))
        self.truth: dict[str, list[Copy]] = defaultdict(list)
        self.deleted: dict[str, list[Copy]] = defaultdict(list)
        self.deleted_ms: dict[str, int] = {}
        self.unlinked_ms: dict[str, int] = {}
        self.people = People()
        self.sent: list[Accepted] = []
        self.imported: dict[str, Copy] = {}
        self.undone: list[Copy] = []
        self.imports: dict[str, tuple[Path, list[Copy]]] = {}
        self.is_undoing = False
        self.builds: list[Pending] = []
        self.backup: dict[bytes, tuple[bytes, int]] | None = None
        self.defined: set[str] = set()
        self.is_open = False
        self.last_stamps: dict[str, tuple[int, int]] = {}
        self.recover()
        for key in AT_FIRST:
            self.define(key)

    def close(self) -> None:
        """Closes the connections."""
        self.store.close()
        self.client.close()

    @property
    def now_ms(self) -> int:
        """The world's clock."""
        return self.store.clock_ms

    def catalogue(self) -> Catalogue:
        """The definitions as Redis has them; none while it has lost them."""
        text = self.store.catalogue()
        return Catalogue() if text is None else decode(text)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, whose: int, kind: str, age_ms: int | None) -> None:
        """A new event of an id, so old (negative: from the future; None: without a time)."""
        number = len(self.sent)
        ts_ms = None if age_ms is None else self.now_ms - age_ms
        if kind == "identify":
            traits = {"plan": f"p{number}", "city": f"c{number}"}
            event = Accepted(f"e{number}", kind, self.ids[whose], original_ts=ts_ms, traits=traits)
        else:
            event = Accepted(
                f"e{number}", "track", self.ids[whose], name=kind, original_ts=ts_ms, properties={"n": number}
            )
        self.sent.append(event)
        self.ingest([event])

    def resend(self, which: Sequence[int]) -> None:
        """Events that were sent before, whatever became of them, in one call."""
        events = [self.sent[number % len(self.sent)] for number in which] if self.sent else []
        events = [event for event in events if self.may_come_again(event)]
        if events:
            self.ingest(events)

    def resend_imported(self, which: int) -> None:
        """An event that came with a file comes from an app as well, or again."""
        copies = [*self.imported.values(), *self.undone]
        events = [copy.event for copy in copies if self.may_come_again(copy.event)]
        if events:
            self.ingest([events[which % len(events)]])

    def may_come_again(self, event: Accepted) -> bool:
        """Any event that was sent; none whose import a delete has covered: whether the record remembers that one
        depends on what was published since."""
        copies = [copy for copy in (*self.imported.values(), *self.undone) if copy.event.event_id == event.event_id]
        return all(copy.received_ms > self.deleted_ms.get(event.id, -1) for copy in copies)

    def ingest(self, events: Sequence[Accepted]) -> None:
        """One call: its events, then what they say about whose ids are."""
        claims, claimed_ms = self.taken(events)
        if claims:
            expected_refusals = self.refusals(claims, claimed_ms)
            owners = self.store.owners([claim.id for claim in claims])
            refused = self.store.follow(link_claims(self.store.operations, claims, owners))
            assert dict(refused) == expected_refusals, f"{claims}\nrefused {refused}, expected {expected_refusals}"

    def taken(self, events: Sequence[Accepted]) -> tuple[list[Claim], ClaimTimes]:
        """Sends events. Their claims, and when each was made.

        Each event is taken or known to be a duplicate, exactly as the truth has it.
        """
        catalogue = self.catalogue()
        arrivals = [Arrival(event, tail_payload(event, catalogue.projection)) for event in events]
        if not self.is_open:
            try:
                self.store.ingest(arrivals, catalogue.projection_version)
            except ShardNotReady:
                return [], {}
            raise AssertionError("a server that is not recovered took an event")
        seqs = self.on_the_clock()
        receipts = self.store.ingest(arrivals, catalogue.projection_version)
        by_id: dict[str, list[tuple[Accepted, Outcome]]] = {}
        for event, outcome in zip(events, receipts.outcomes, strict=True):
            by_id.setdefault(event.id, []).append((event, outcome))
        claimed_ms: ClaimTimes = {}
        for event, outcome in [pair for pairs in by_id.values() for pair in pairs]:
            expected = self.expected(event, seqs)
            assert outcome == expected, f"{event}\nanswered {outcome}, expected {expected}"
            came_ms = self.came_ms(event) if expected.duplicate else self.now_ms
            for claim in claims_of(event):
                claimed_ms.setdefault((claim.id, claim.owner), []).append(came_ms)
        return claims_with_receipts(distinct_claims(events), events, receipts.came_ms), claimed_ms

    def refusals(self, claims: Sequence[Claim], claimed_ms: ClaimTimes) -> dict[Claim, str]:
        """The claims that must not become links, and why; the others are links in the truth from here on."""
        reasons = {}
        owned = set(self.people.owner_of)  # of these the call hears whose they are, however old its claim is
        for claim in claims:
            if claim.id not in owned and self.is_past(*claim[:2], max(claimed_ms[claim.id, claim.owner])):
                continue
            theirs = {id_ for id_, owner in self.people.owner_of.items() if owner == claim.owner}
            has_room = claim.id in theirs or len(theirs) < MEMBERS_MAX
            why = self.people.claim(claim.id, claim.owner, max(claimed_ms[claim.id, claim.owner]), has_room)
            if why is not None:
                reasons[claim] = why
        return reasons

    def came_ms(self, event: Accepted) -> int:
        """The receipt of the copy that a repeat of an event is measured against; -1 where there is none."""
        copy = self.remembered(event)
        return copy.received_ms if copy is not None else -1

    def is_past(self, id_: str, owner: str, claimed_ms: int) -> bool:
        """Whether a claim was taken back since it was made."""
        return claimed_ms <= max(
            self.deleted_ms.get(id_, -1), self.deleted_ms.get(owner, -1), self.unlinked_ms.get(id_, -1)
        )

    def on_the_clock(self) -> dict[int, int]:
        """Sets the shards to the world's clock; the seq of each."""
        states = self.store.shard_states()
        for state in states:
            self.store.resume(state.shard, 0, self.now_ms)
        return {state.shard: state.seq for state in states}

    def expected(self, event: Accepted, seqs: dict[int, int]) -> Outcome:
        """The outcome that the call must have for an event. A new event is counted in the truth."""
        copy = self.remembered(event)
        is_duplicate = copy is not None and self.now_ms - copy.received_ms < DAY_MS
        if copy is not None and is_duplicate and copy.seq is not None:
            return Outcome(copy.seq, duplicate=True)
        if is_duplicate and self.is_undoing:
            return Outcome(None, busy=True)
        shard = shard_of(event.id, SHARDS)
        seqs[shard] += 1
        ts_ms = self.now_ms if event.original_ts is None else min(event.original_ts, self.now_ms)
        self.truth[event.id].append(Copy(event, seqs[shard], ts_ms, self.now_ms))
        return Outcome(None, duplicate=True) if is_duplicate else Outcome(seqs[shard])

    def remembered(self, event: Accepted) -> Copy | None:
        """The copy that the record of an event's id measures a repeat against: the last that counts of what its base
        covers and of what came since, or one that was deleted."""
        (record,) = self.store.records([event.id]).records
        version, seq = (record.stamp.lake_version, record.stamp.seq) if record.stamp is not None else (0, 0)
        logged = [copy for copy in self.truth[event.id] if copy.event.event_id == event.event_id]
        imported = [copy for copy in self.imports_of(event.id, version) if copy.event.event_id == event.event_id]
        copies = once([copy for copy in logged if copy.seq is not None and copy.seq <= seq] + imported)
        for copy in logged:
            if not copies or copy.received_ms - copies[-1].received_ms >= DAY_MS:
                copies.append(copy)
        copies += [copy for copy in self.deleted[event.id] if copy.event.event_id == event.event_id]
        return max(copies, key=lambda copy: copy.received_ms, default=None)

    def imports_of(self, id_: str, version: int) -> list[Copy]:
        """The copies that were imported for an id up to a version of the lake, and not deleted."""
        deleted_ms = self.deleted_ms.get(id_, -(2**62))
        copies = [copy for copy in (*self.imported.values(), *self.undone) if copy.event.id == id_]
        return [copy for copy in copies if copy.version <= version < copy.until and copy.ts_ms > deleted_ms]

    def ingest_by_old_definitions(self, whose: int) -> None:
        """A process that did not notice the newest definitions is sent back."""
        version = self.catalogue().projection_version
        if self.is_open and version > 1:
            event = Accepted(f"old{len(self.sent)}", "track", self.ids[whose], name="view", properties={"n": 0})
            try:
                self.store.ingest([Arrival(event, b"\x93\xa5track\xc0\x80")], version - 1)
            except ProjectionOutdated:
                return
            raise AssertionError("an event was taken that keeps less than definitions need")

    # ── whose ids are whose ──────────────────────────────────────────────────────────────────────────────────────

    def send_together(self, whose: int, device: int, kind: str) -> None:
        """An event that names a user and a device."""
        user, anonymous = raw_id(USERS[whose]).value, raw_id(DEVICES[device]).value
        number = len(self.sent)
        event = Accepted(
            f"e{number}", "track", USERS[whose], user, anonymous, kind, self.now_ms, properties={"n": number}
        )
        self.sent.append(event)
        self.ingest([event])

    def alias(self, whose: int, previous: int) -> None:
        """Says that a known user is another one."""
        if whose != previous:
            event = Accepted(f"e{len(self.sent)}", "alias", USERS[whose], raw_id(USERS[whose]).value, USERS[previous])
            self.sent.append(event)
            self.ingest([event])

    def unlink(self, whose: int) -> None:
        """Takes an id from whom it belongs to."""
        if self.is_open:
            self.on_the_clock()
            owner = self.store.follow(unlink_id(self.store.operations, self.ids[whose], f"u{len(self.sent)}"))
            assert (owner.id if owner else None) == self.people.unlink(self.ids[whose])
            if owner is not None:
                self.unlinked_ms[self.ids[whose]] = self.now_ms

    def delete_person(self, whose: int) -> None:
        """Deletes the person that an id belongs to."""
        if self.is_open:
            self.on_the_clock()
            seqs = self.store.follow(delete_person(self.store.operations, self.ids[whose], f"d{len(self.sent)}"))
            assert set(seqs) == self.people.ids_of(self.ids[whose])
            for id_ in seqs:
                self.forget(id_, self.now_ms)

    def forget(self, id_: str, at_ms: int) -> None:
        """A delete of an id: nothing of it counts, it is nobody's, and repeats are known."""
        self.deleted[id_] += self.truth[id_]
        self.truth[id_] = []
        self.deleted_ms[id_] = at_ms
        self.people.delete(id_, at_ms)

    def tick(self, ms: int) -> None:
        """Time goes on."""
        self.store.clock_ms += ms

    # ── history from a file ──────────────────────────────────────────────────────────────────────────────────────

    def import_history(self, whose: int, count: int, age_ms: int) -> None:
        """Some old purchases of a user, from a file, straight into the lake; then the same file again.

        The file overlaps with the log, and with the files before it: as many purchases are in it of each that the lake
        has already. Those of files count once at any distance.
        """
        if not self.ids[whose].startswith("user:"):
            return
        drained = self.lake.transaction_versions(None, SHARDS)[shard_of(self.ids[whose], SHARDS)]
        copies = [
            copy
            for copy in self.truth[self.ids[whose]]
            if copy.event.name == "buy" and copy.seq is not None and copy.seq <= drained
            if copy.event.event_id not in self.imported
        ][-count:]
        deleted_ms = self.deleted_ms.get(self.ids[whose], -(2**62))
        known = [
            copy
            for copy in self.imported.values()
            if copy.event.id == self.ids[whose] and copy.event.name == "buy" and copy.ts_ms > deleted_ms
        ][:count]
        for _ in range(count):
            number = len(self.sent)
            ts_ms = self.now_ms - age_ms
            event = Accepted(
                f"e{number}", "track", self.ids[whose], name="buy", original_ts=ts_ms, properties={"n": number}
            )
            self.sent.append(event)
            copies.append(Copy(event, None, ts_ms, self.now_ms))
        rows = [
            {
                "user": self.ids[whose][5:],
                "event": "buy",
                "at": copy.ts_ms,
                "id": copy.event.event_id,
                "n": copy.event.properties["n"],
            }
            for copy in [*known, *copies]
        ]
        path = self.folder / f"history{len(self.sent)}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        done = self.import_file(path)
        assert (done.accepted, done.already) == (len(copies), len(known))
        again = import_file(
            self.lake, path, user_column="user", event_column="event", time_column="at", id_column="id",
            now_ms=self.now_ms, shards=SHARDS,
        )  # fmt: skip
        assert (again.accepted, again.already) == (0, len(rows))
        assert done.id is not None
        self.came(done.id, path, copies)

    def import_file(self, path: Path) -> Imported:
        """Imports a file, and notes that."""
        note = Note(self.lake, [path.name], {}, "", self.now_ms)
        done = import_file(
            self.lake, path, user_column="user", event_column="event", time_column="at", id_column="id",
            now_ms=self.now_ms, shards=SHARDS, begin=note.begin,
        )  # fmt: skip
        note.end(done)
        return done

    def came(self, id_: str, path: Path, copies: Sequence[Copy]) -> None:
        """An import of a file brought copies, which the lake has from here on."""
        version = self.lake.events_version()
        own = [replace(copy, seq=None, received_ms=self.now_ms, version=version, until=2**60) for copy in copies]
        self.imports[id_] = path, own
        self.imported |= {copy.event.event_id: copy for copy in own}

    def undo_import(self, which: int, killed_at: int | None, again: bool) -> None:
        """An import is undone, with those that relied on it; perhaps it is killed, and then run again. Meanwhile apps
        send what was in it. Perhaps the file is imported again."""
        if not self.is_open or not self.imports:
            return
        id_ = list(self.imports)[which % len(self.imports)]
        path, own = self.imports[id_]
        steps = []

        def on_step(step: str) -> None:
            steps.append(step)
            self.look_what_went(before)
            self.is_undoing = True
            self.resend_imported(which + len(steps))
            if len(steps) == killed_at:
                raise Stopped

        before = self.lake.events_version()
        with suppress(Stopped):
            undo_import(self.store, self.lake, self.settings, id_, with_dependents=True, on_step=on_step)
        if len(steps) == killed_at:
            undo_import(self.store, self.lake, self.settings, id_, on_step=on_step)
        self.is_undoing = False
        states = {row["id"]: row["state"] for row in noted_imports(self.lake, 10_000)}
        assert states[id_] == "undone" and {states[other] for other in self.imports} <= {"done"}
        if again:
            done = self.import_file(path)
            assert done.id is not None and done.accepted >= len(own)
            self.came(done.id, path, own)

    def look_what_went(self, before: int) -> None:
        """The copies of imports whose rows the lake had at a version, and has no more."""
        for id_ in list(self.imports):
            until = self.first_without(id_, before)
            if until is not None:
                # A file may have an event twice, which then counts once.
                for event_id in {copy.event.event_id for copy in self.imports.pop(id_)[1]}:
                    self.undone.append(replace(self.imported.pop(event_id), until=until))

    def first_without(self, import_id: str, since: int) -> int | None:
        """The first version of the lake, of one and those after it, that has no row of an import; None if all have."""
        for version in range(since, self.lake.events_version() + 1):
            if self.lake.scan(EVENTS, version).filter(pl.col("import_id") == import_id).collect().is_empty():
                return version
        return None

    # ── drain ────────────────────────────────────────────────────────────────────────────────────────────────────

    def drain(self, rows: int, killed_at: str | None) -> None:
        """One round over so many rows, perhaps killed at some step."""
        if self.is_open:

            def on_step(step: str) -> None:
                if step == killed_at:
                    raise Stopped

            with suppress(Stopped):
                Drain(self.store, self.lake, self.settings, on_step=on_step, rows_max=rows).step()

    def drain_twice(self, rows: int, paused_at: str) -> None:
        """A drain is paused at some step while another one does a whole round."""
        if self.is_open:
            other = Drain(self.store, Lake(self.lake.root), self.settings, rows_max=rows)
            paused = []

            def on_step(step: str) -> None:
                if step == paused_at and not paused:
                    paused.append(step)
                    other.step()

            Drain(self.store, self.lake, self.settings, on_step=on_step, rows_max=rows).step()

    # ── rebuilds ─────────────────────────────────────────────────────────────────────────────────────────────────

    def build(self, whose: Sequence[int] | None) -> None:
        """Starts a rebuild, of everybody or of some; it stops before it publishes."""
        if not self.is_open:
            return
        pending = Pending(is_full=whose is None, run_id=self.store.server().run_id)
        ids = None if whose is None else [self.ids[index] for index in whose]
        with WithholdingStore(self.server.url, pending, self.now_ms) as store, suppress(Stopped):
            rebuild(store, self.lake, self.settings, ids=ids)
        self.builds.append(pending)

    def publish(self, which: int, record: int, repeat: bool) -> None:
        """One record of some build, perhaps to come once more."""
        pending = [build for build in self.builds if build.records]
        if pending:
            build = pending[which % len(pending)]
            shard, base = build.records[record % len(build.records)]
            self.put(build.stamps[shard], shard, base)
            if not repeat:
                build.records.remove((shard, base))

    def put(self, stamp: Stamp, shard: int, record: BaseRecord) -> None:
        """Publishes a record. Here two events that it remembers are many: they are written in pieces of one before."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(publish, "RECENT_SENT_BYTES_MAX", RECENT_ENTRY_BYTES)
            patch.setattr(stage, "PIECE_BYTES", RECENT_ENTRY_BYTES)
            send(self.store, [record], {shard: stamp})

    def finish(self, which: int) -> None:
        """The rest of some build, and its end."""
        if self.builds:
            build = self.builds.pop(which % len(self.builds))
            for shard, base in build.records:
                self.put(build.stamps[shard], shard, base)
            if build.is_full:
                stamps = [build.stamps[shard] for shard in range(SHARDS)]
                with suppress(ServerReplaced, Unavailable):
                    self.store.sweep_all(stamps, build.run_id)
                    cover(self.store, [covered_by(stamp) for stamp in stamps], build.run_id)

    def read_between(self, whose: int, which: int, record: int) -> None:
        """Somebody is read, and between one record and the next something of a build is published, and drained."""
        if not self.is_open:
            return
        steps = gather(self.store.operations, self.ids[whose])
        request = next(steps)
        try:
            while True:
                answer = self.store.ask(request)
                self.publish(which, record, repeat=False)
                self.drain(9, None)
                request = steps.send(answer)
        except StopIteration as stop:
            self.check_reading(self.ids[whose], stop.value)

    # ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────

    def take_backup(self) -> None:
        """A copy of all that Redis holds."""
        self.backup = {key: (self.client.dump(key), max(self.client.pttl(key), 0)) for key in self.client.scan_iter()}

    def rewind(self) -> None:
        """Redis comes back as it was at the backup; what only it held since then is lost."""
        if self.backup is not None:
            self.client.flushall()
            for key, (value, ttl_ms) in self.backup.items():
                self.client.restore(key, ttl_ms, value)
            self.lose()

    def is_of_another_life(self) -> bool:
        """Whether the log has another event than the lake under some seq: a backup from before seqs were lost."""
        names = {(shard, row.seq): _name(row) for shard, row in self.lake_rows()}
        return any(
            names.get((shard, entry.seq), _name(entry)) != _name(entry)
            for shard in range(SHARDS)
            for entry in self.store.read_log(shard, 0, 100_000)
        )

    def wipe(self) -> None:
        """Redis comes back empty."""
        self.client.flushall()
        self.lose()

    def lose(self) -> None:
        """The server is started anew. What counts now is what the lake has, and what is left of the log beyond it."""
        self.server.restart()
        self.is_open = False
        self.last_stamps.clear()
        self.truth, self.deleted = defaultdict(list), defaultdict(list)
        self.deleted_ms, self.unlinked_ms = {}, {}
        self.people = People()
        committed = [0] * SHARDS
        for shard, row in self.lake_rows():
            committed[shard] = max(committed[shard], row.seq)
            self.happened(row)
        for shard, seq in enumerate(committed if not self.is_of_another_life() else ()):
            for entry in self.store.read_log(shard, seq, 100_000):
                self.happened(entry)

    def happened(self, entry: LogEntry) -> None:
        """An entry of the log, which the truth begins with anew."""
        event = entry.event
        match event.kind:
            case "link":
                assert event.name is not None
                self.people.links[event.id] = event.name, entry.ts_ms
            case "unlink":
                self.people.unlink(event.id)
                self.unlinked_ms[event.id] = entry.ts_ms
            case "delete":
                self.forget(event.id, entry.received_ms)
            case _:
                sent = next(sent for sent in self.sent if (sent.id, sent.event_id) == (event.id, event.event_id))
                self.truth[event.id].append(Copy(sent, entry.seq, entry.ts_ms, entry.received_ms))

    def lake_rows(self) -> list[tuple[int, LogEntry]]:
        """All logged rows of the lake by shard, in order of seq."""
        columns = ["shard", "seq", "event_id", "kind", "id", "name", "ts", "received_at"]
        logged = self.lake.events().filter(pl.col("seq").is_not_null()).sort("seq").select(columns).collect()
        return [
            (shard, LogEntry(seq, Accepted(event_id, kind, id_, name=name), ts_ms, received_ms))
            for shard, seq, event_id, kind, id_, name, ts_ms, received_ms in logged.iter_rows()
        ]

    def recover(self, killed_at: int | None = None) -> None:
        """Recovers the server, perhaps killed after so many steps."""
        steps = []

        def on_step(step: str) -> None:
            steps.append(step)
            if len(steps) == killed_at:
                raise Stopped

        if not self.is_open:
            try:
                recover(self.store, self.lake, self.settings, on_step)
                self.is_open = True
            except Stopped:
                run_id = self.store.server().run_id
                self.is_open = all(state.ready_run_id == run_id for state in self.store.shard_states())

    # ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────

    def define(self, key: str) -> None:
        """A definition is saved."""
        if self.is_open:
            save(self.store, self.lake.holds_events, Definition("trait", key, DEFINITIONS[key]), self.now_ms)
            write_down(self.store, self.lake.append_definitions)
            self.defined.add(key)

    def undefine(self, key: str) -> None:
        """A definition is deleted."""
        if self.is_open and key in self.defined:
            delete(self.store, self.lake.holds_events, "trait", key, self.now_ms)
            write_down(self.store, self.lake.append_definitions)
            self.defined.remove(key)

    # ── what must hold ───────────────────────────────────────────────────────────────────────────────────────────

    def counted(self, record: Record) -> list[Copy]:
        """The copies that count of an id, imported ones from the lake's version on that its base was built from."""
        version = record.stamp.lake_version if record.stamp is not None else 0
        return once(self.truth[record.id] + self.imports_of(record.id, version))

    def check(self) -> None:
        """Every id answers, for what is not warming, what brute force says; and its stamps never go back."""
        catalogue = self.catalogue()
        if self.is_open:
            assert {key for _, key in catalogue.definitions} == self.defined, "definitions were lost"
        for id_ in self.ids:
            reading = self.store.follow(gather(self.store.operations, id_))
            for record in reading.records:
                self.check_record(record)
            if not self.is_open:
                continue
            self.check_reading(id_, reading)

    def check_reading(self, id_: str, reading: Reading) -> None:
        """The answers of a reading are those of brute force over the same records."""
        catalogue = self.catalogue()
        ids = [record.id for record in reading.records]
        assert (ids[0], set(ids)) == (self.people.root_of(id_), self.people.ids_of(id_)), f"{id_} is {ids}"
        answers = person(reading._replace(clock_ms=self.now_ms), catalogue, DecodedBases()).answers(
            catalogue.definitions
        )
        assert answers.now_ms == self.now_ms
        if not answers.exact:
            stamps = [record.stamp for record in reading.records if record.stamp is not None]
            assert any(0 < stamp.horizon_ms <= self.now_ms - stamp.as_of_ms for stamp in stamps), f"{id_}: not exact"
            return
        copies = [copy for record in reading.records for copy in self.counted(record)]
        for key in self.defined:
            if ("trait", key) not in answers.warming:
                expected = brute_force(key, copies, self.now_ms)
                answer = answers.values["trait", key].value
                assert answer == expected, f"{id_} {key}: {answer}, brute force says {expected}"

    def check_record(self, record: Record) -> None:
        """Base and tail do not overlap, and (V, build) only grows."""
        tail = [int.from_bytes(entry[:6], "big") for entry in record.tail]
        assert len(set(tail)) == len(tail), f"{record.id} has an event twice in its tail"
        if record.stamp is not None:
            assert all(seq > record.stamp.seq for seq in tail), f"{record.id} has covered events in its tail"
            now = (record.stamp.lake_version, record.stamp.build)
            assert now >= self.last_stamps.get(record.id, now), f"the base of {record.id} went back"
            self.last_stamps[record.id] = now

    def check_lake(self) -> None:
        """The lake's rows of a shard are 1 … txn, each once."""
        rows = self.lake_rows()
        for shard, committed in enumerate(self.lake.transaction_versions(None, SHARDS)):
            seqs = [row.seq for at, row in rows if at == shard]
            assert seqs == list(range(1, committed + 1)), (
                f"shard {shard} of the lake has {seqs}, its txn is {committed}"
            )

    def settle(self) -> None:
        """Ends the walk: once nothing is in the way, all is covered and nothing is warming."""
        self.recover()
        while any(state.seq > state.drained for state in self.store.shard_states()):
            self.drain(100_000, None)
        rebuild(self.store, self.lake, self.settings)
        catalogue = self.catalogue()
        for id_ in self.ids:
            reading = self.store.follow(gather(self.store.operations, id_))
            answers = person(reading, catalogue, DecodedBases()).answers(catalogue.definitions)
            assert not answers.warming, f"{id_} is still warming: {sorted(answers.warming)}"
        self.check()
        self.check_lake()
        self.check_batch()
        assert not list(self.client.scan_iter("staged:*")), "pieces were left behind"

    def check_batch(self) -> None:
        """The batch answers for the same people, each under one id, what brute force says of all rows of the lake."""
        bounds = self.catalogue().bounds
        answers = answer_frame(people(counted(self.lake.events())), list(bounds.values()), self.now_ms)
        assert {self.people.root_of(id_) for id_ in answers["id"]} == set(answers["id"])
        for kind, key in bounds:
            for id_, value in values_of(answers, (kind, key)).items():
                ids = self.people.ids_of(id_)
                newest = self.lake.events_version()
                copies = once(copy for own in ids for copy in self.truth[own] + self.imports_of(own, newest))
                expected = brute_force(key, copies, self.now_ms)
                assert value == expected, f"the batch says {value} of {id_} {key}, brute force {expected}"
