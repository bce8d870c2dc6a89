"""The store survives lost scripts, lost servers and retry storms, and its two shells say the same."""

from __future__ import annotations

import asyncio
import inspect
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.embedded_redis import EmbeddedRedis
from serving.ids import shard_of
from serving.store import keys
from serving.store.errors import NotAdmitted, NotDurable, ServerReplaced, ShardNotReady, StoreError, StoreUnreachable
from serving.store.layout import recent_entry
from serving.store.operations.operations import Operations
from serving.store.requests import Request, command
from serving.store.scripts.ingest import Outcome
from serving.store.scripts.publish import BaseRecord
from serving.store.stamps import Stamp
from serving.store.store import AsyncStore, Store
from tests.serving.store.arrivals import NOON_MS, arrival, at, ready, seqs_of

pytestmark = pytest.mark.usefixtures("clock")

ALICE = "user:alice"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server that the test may stop and kill."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


def in_loop(store: Store, url: str, work: Callable[[AsyncStore], Awaitable[Any]]) -> Any:
    """Runs the work with an asynchronous store beside this one."""

    async def main() -> Any:
        async with AsyncStore(url, store.shards) as opened:
            return await work(opened)

    return asyncio.run(main())


class TestTwoShells:
    def test_both_have_every_operation(self) -> None:
        """Each operation is a method of both, under its own name and with its own arguments."""
        functions = inspect.getmembers(Operations, inspect.isfunction)
        operations = {name: function for name, function in functions if not name.startswith("_")}
        assert len(operations) > 50
        for name, operation in operations.items():
            for shell in (Store, AsyncStore):
                assert inspect.signature(getattr(shell, name)) == inspect.signature(operation), (shell, name)

    def test_both_read_the_same(self, store: Store, redis_url: str) -> None:
        """Each reads what the other wrote, to the same values."""
        at(store, NOON_MS)
        store.ingest([arrival("e1", amount=5)], projection=0)

        async def work(opened: AsyncStore) -> Any:
            taken = await opened.ingest([arrival("e1"), arrival("e2")], projection=0)
            return taken, (await opened.records([ALICE])).records, await opened.read_log(0, 0, 10)

        taken, records, log = in_loop(store, redis_url, work)
        assert taken.outcomes == [Outcome(1, duplicate=True), Outcome(2)]
        assert records == store.records([ALICE]).records
        assert log == store.read_log(0, 0, 10)

    def test_both_raise_the_same(self, store: Store, redis_url: str, client: redis.Redis) -> None:
        """A refusal is the same error, with the same words."""
        client.delete(keys.ready(0))
        with pytest.raises(ShardNotReady) as here:
            store.ingest([arrival("e1")], projection=0)

        async def work(opened: AsyncStore) -> Any:
            with pytest.raises(ShardNotReady) as there:
                await opened.ingest([arrival("e1")], projection=0)
            return str(there.value)

        assert in_loop(store, redis_url, work) == str(here.value)

    def test_a_refused_command_is_an_error_that_names_it(self, store: Store, redis_url: str) -> None:
        """A command that Redis does not understand is a StoreError with Redis' words, and the connection goes on."""
        request = Request([command("NONSENSE"), command("PING")], lambda replies: replies)
        with pytest.raises(StoreError, match="NONSENSE"):
            store.ask(request)
        assert store.now_ms() > 0

        async def work(opened: AsyncStore) -> Any:
            with pytest.raises(StoreError, match="NONSENSE"):
                await opened.ask(request)
            return await opened.now_ms()

        assert in_loop(store, redis_url, work) > 0


class TestLostScripts:
    def test_a_flushed_script_is_sent_again(self, store: Store, client: redis.Redis) -> None:
        """NOSCRIPT is survived: the caller notices nothing."""
        store.ingest([arrival("e1")], projection=0)
        client.script_flush()

        assert store.ingest([arrival("e2")], projection=0).outcomes == [Outcome(2)]

    def test_a_pipeline_survives_it(self, redis_url: str, client: redis.Redis) -> None:
        """In a pipeline only the scripts are sent again, and every reply is its own command's."""
        with Store(redis_url, shards=8) as store:
            ready(store)
            client.script_flush()

            receipts = store.ingest([arrival(f"e{n}", f"user:{n}") for n in range(64)], projection=0)

            assert all(outcome.seq and not outcome.duplicate for outcome in receipts.outcomes)
            states = store.shard_states()
            assert sum(state.seq for state in states) == 64
            records = store.records([f"user:{n}" for n in range(64)]).records
            assert [record.last_seq for record in records] == [outcome.seq for outcome in receipts.outcomes]

    def test_flushes_in_the_middle_lose_nothing(self, store: Store, redis_url: str) -> None:
        """While scripts are flushed again and again, events of many tasks are taken once each."""

        async def work(opened: AsyncStore) -> int:
            flushed = 0

            async def send(number: int) -> None:
                for _ in range(2):
                    await opened.ingest([arrival(f"e{number}")], projection=0)

            async def flush() -> None:
                nonlocal flushed
                while not done.is_set():
                    await opened.ask(Request([command("SCRIPT", "FLUSH")], lambda replies: replies))
                    flushed += 1

            done = asyncio.Event()
            flushing = asyncio.create_task(flush())
            await asyncio.gather(*(send(number) for number in range(200)))
            done.set()
            await flushing
            return flushed

        assert in_loop(store, redis_url, work) > 0
        assert [entry.seq for entry in store.read_log(0, 0, 1_000)] == list(range(1, 201))
        assert len(store.records([ALICE]).records[0].tail) == 200

    def test_sweep_and_publish_survive_it(self, store: Store, client: redis.Redis) -> None:
        """Every script is run by the same rule."""
        store.publish(0, Stamp(1, 1, 0, NOON_MS, 0), [BaseRecord(ALICE, b"base")])
        client.script_flush()
        assert store.sweep_all([Stamp(2, 2, 0, NOON_MS, 0)]) == 1
        client.script_flush()
        assert store.hold_lease("drain", "one", 60_000)


class TestLostServers:
    def test_a_restarted_server_is_refused_until_it_is_recovered(self, own_server: EmbeddedRedis) -> None:
        """A connection knows which run of the server it leads to: after a restart ingest waits for recovery."""
        with Store(own_server.url, shards=1) as store:
            ready(store).ingest([arrival("e1")], projection=0)
            own_server.restart()

            with pytest.raises(ShardNotReady):
                store.ingest([arrival("e2")], projection=0)
            assert seqs_of(store.records([ALICE]).records[0]) == [1]
            assert ready(store).ingest([arrival("e2")], projection=0).outcomes == [Outcome(2)]

    def test_the_event_loop_notices_a_restart(self, own_server: EmbeddedRedis) -> None:
        """The same for the shared connection: it is opened anew, and learns the new run."""

        async def main() -> None:
            with Store(own_server.url, shards=1) as store:
                ready(store)
                async with AsyncStore(own_server.url, shards=1) as opened:
                    assert (await opened.ingest([arrival("e1")], projection=0)).outcomes == [Outcome(1)]
                    await asyncio.to_thread(own_server.restart)
                    with pytest.raises(ShardNotReady):
                        await opened.ingest([arrival("e2")], projection=0)
                    await asyncio.to_thread(ready, store)
                    assert (await opened.ingest([arrival("e2")], projection=0)).outcomes == [Outcome(2)]

        asyncio.run(main())

    def test_an_absent_server_is_unreachable(self, own_server: EmbeddedRedis) -> None:
        """Without a server both shells say so, and go on when it is back."""

        async def main() -> None:
            with Store(own_server.url, shards=1) as store:
                async with AsyncStore(own_server.url, shards=1) as opened:
                    await opened.now_ms()
                    store.now_ms()
                    await asyncio.to_thread(own_server.kill)
                    for _ in range(3):
                        with pytest.raises(StoreUnreachable):
                            await opened.now_ms()
                        with pytest.raises(StoreUnreachable):
                            store.now_ms()
                    await asyncio.to_thread(own_server.start)
                    assert await opened.now_ms() > 0
                    assert store.now_ms() > 0

        asyncio.run(main())

    def test_what_was_in_flight_fails(self, own_server: EmbeddedRedis) -> None:
        """A server killed with commands in flight leaves no caller waiting."""

        async def main() -> list[Any]:
            async with AsyncStore(own_server.url, shards=1) as opened:
                requests = [asyncio.create_task(opened.ask(blocking)) for _ in range(10)]
                await opened_by_all(opened)
                await asyncio.to_thread(own_server.kill)
                return await asyncio.gather(*requests, return_exceptions=True)

        async def opened_by_all(opened: AsyncStore) -> None:
            """Returns when the commands were sent: another connection sees their client blocked."""
            async with AsyncStore(own_server.url, shards=1) as other:
                info = Request([command("INFO", "clients")], lambda replies: replies[0])
                while b"blocked_clients:1" not in await other.ask(info):
                    await asyncio.sleep(0)

        blocking = Request([command("BLPOP", "never", 0)], lambda replies: replies)
        outcomes = asyncio.run(main())
        assert [type(outcome) for outcome in outcomes] == [StoreUnreachable] * 10

    def test_a_silent_server_is_given_up(self, redis_url: str) -> None:
        """No answer within the timeout is no answer, for both shells; the next question has a new connection."""
        blocking = Request([command("BLPOP", "never", 0)], lambda replies: replies)

        async def main() -> None:
            async with AsyncStore(redis_url, shards=1, timeout_s=0.2) as opened:
                with pytest.raises(StoreUnreachable):
                    await opened.ask(blocking)
                assert await opened.now_ms() > 0

        asyncio.run(main())
        with Store(redis_url, shards=1, timeout_s=0.2) as store:
            with pytest.raises(StoreUnreachable):
                store.ask(blocking)
            assert store.now_ms() > 0

    def test_a_wrong_address_is_unreachable(self) -> None:
        """A port without a server is named in the error."""
        with pytest.raises(StoreUnreachable), Store("redis://127.0.0.1:1/0") as store:
            store.now_ms()

        async def main() -> None:
            async with AsyncStore("redis://127.0.0.1:1/0") as opened:
                with pytest.raises(StoreUnreachable):
                    await opened.now_ms()

        asyncio.run(main())

    def test_a_cancelled_question_disturbs_no_other(self, store: Store, redis_url: str) -> None:
        """A caller that goes away leaves the replies of the others in order."""

        async def work(opened: AsyncStore) -> Any:
            await opened.now_ms()
            gone = [asyncio.create_task(opened.catalogue()) for _ in range(5)]
            staying = [asyncio.create_task(opened.ingest([arrival(f"e{n}")], projection=0)) for n in range(5)]
            await asyncio.sleep(0)
            for task in gone:
                task.cancel()
            await asyncio.gather(*gone, return_exceptions=True)
            return [(await task).outcomes for task in staying]

        assert in_loop(store, redis_url, work) == [[Outcome(n)] for n in range(1, 6)]


class TestWorkOfOneRun:
    """Work is bound to a run of the server where a later run may have lost its beginning."""

    def test_it_is_done_on_that_run(self, store: Store, redis_url: str) -> None:
        """While the server is the same, the bound request is the request."""
        run_id = store.server().run_id

        assert store.replace_catalogue(b"one", expected=None, version=1, run_id=run_id)

        async def work(opened: AsyncStore) -> Any:
            return await opened.replace_catalogue(b"two", expected=1, version=2, run_id=run_id)

        assert in_loop(store, redis_url, work)
        assert store.catalogue() == b"two"

    def test_another_run_is_left_alone(self, own_server: EmbeddedRedis) -> None:
        """After a restart nothing of it is sent: no sweep, no catalogue, no answer to requests."""
        with Store(own_server.url, shards=1) as store:
            run_id = store.server().run_id
            store.publish(0, Stamp(1, 1, 0, NOON_MS, 0), [BaseRecord(ALICE, b"base")])
            store.want_rebuild()
            requests = store.rebuild_requests()
            own_server.restart()

            with pytest.raises(ServerReplaced):
                store.sweep_all([Stamp(2, 2, 0, NOON_MS, 0)], run_id)
            with pytest.raises(ServerReplaced):
                store.answer_rebuilds(requests, run_id)
            with pytest.raises(ServerReplaced):
                store.replace_catalogue(b"text", expected=None, version=1, run_id=run_id)

            async def work(opened: AsyncStore) -> Any:
                with pytest.raises(ServerReplaced):
                    await opened.replace_catalogue(b"text", expected=None, version=1, run_id=run_id)

            in_loop(store, own_server.url, work)
            assert store.records([ALICE]).records[0].base == b"base"
            assert store.rebuild_requests().is_full
            assert store.catalogue() is None


class TestClearing:
    def test_everything_of_ours_goes_and_nothing_else(self, store: Store, client: redis.Redis) -> None:
        """A clear leaves other keys, and the leases and heartbeats of processes that go on."""
        store.ingest([arrival("e1")], projection=0)
        recent = b"".join(recent_entry(bytes([n]) * 8, NOON_MS, n) for n in range(100))
        store.publish(0, Stamp(1, 1, 0, NOON_MS, 0), [BaseRecord(ALICE, b"base", recent)])
        store.want_rebuild()
        store.want_rebuild_of([ALICE])
        store.replace_catalogue(b"text", expected=None, version=1)
        store.reject([b"bad"])
        store.hold_lease("drain", "one", 60_000)
        client.set("record of somebody else", 1)

        store.clear()

        assert sorted(client.keys()) == [b"lease:{drain}", b"record of somebody else"]
        client.delete("record of somebody else")


class TestMultiplexer:
    def test_equal_reads_of_one_tick_are_sent_once(self, store: Store, redis_url: str, client: redis.Redis) -> None:
        """A hundred readers of one id at one moment cost Redis one HGETALL, one TIME and one GET."""

        async def work(opened: AsyncStore) -> Any:
            await opened.now_ms()
            await asyncio.to_thread(client.config_resetstat)
            readings = await asyncio.gather(*(opened.records([ALICE]) for _ in range(100)))
            return readings, await asyncio.to_thread(client.info, "commandstats")

        readings, stats = in_loop(store, redis_url, work)
        assert len(set(map(str, readings))) == 1
        assert [stats[f"cmdstat_{name}"]["calls"] for name in ("hgetall", "time", "get")] == [1, 1, 1]

    def test_a_write_between_two_ticks_is_seen(self, store: Store, redis_url: str) -> None:
        """Sharing ends with the tick: a read after an acknowledged write sees it."""

        async def work(opened: AsyncStore) -> Any:
            seen = []
            for number in range(20):
                await opened.ingest([arrival(f"e{number}")], projection=0)
                seen.append(len((await opened.records([ALICE])).records[0].tail))
            return seen

        assert in_loop(store, redis_url, work) == list(range(1, 21))


class TestRetryStorm:
    def test_what_was_accepted_is_what_is_counted(self, redis_url: str) -> None:
        """Fifty clients send each event about ten times, some over their own connections: each counts once."""
        chance = random.Random(7)
        events = [(f"e{n}", f"user:{n % 7}") for n in range(60)]
        sends = events * 10
        chance.shuffle(sends)
        heard: dict[tuple[str, str], set[int | None]] = {event: set() for event in events}
        lock = threading.Lock()

        def client(own: list[tuple[str, str]]) -> None:
            with Store(redis_url, shards=4) as opened:
                for event in own:
                    (outcome,) = opened.ingest([arrival(*event)], projection=0).outcomes
                    with lock:
                        heard[event].add(outcome.seq)

        async def clients(own: list[tuple[str, str]]) -> None:
            async with AsyncStore(redis_url, shards=4) as opened:

                async def send(event: tuple[str, str]) -> None:
                    heard[event].add((await opened.ingest([arrival(*event)], projection=0)).outcomes[0].seq)

                await asyncio.gather(*(send(event) for event in own))

        with Store(redis_url, shards=4) as store:
            ready(store)
            with ThreadPoolExecutor(50) as pool:
                futures = [pool.submit(client, sends[start::100]) for start in range(50)]
                asyncio.run(clients([event for start in range(50, 100) for event in sends[start::100]]))
                for future in futures:
                    future.result()

            logs = store.read_logs(dict.fromkeys(range(4), 0), 1_000)
            assert all(len(seqs) == 1 for seqs in heard.values()), "every answer for an event names one seq"
            counted = [(entry.event.event_id, entry.event.id) for entries in logs.values() for entry in entries]
            assert sorted(counted) == sorted(events)
            for shard, entries in logs.items():
                assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
                assert all(heard[entry.event.event_id, entry.event.id] == {entry.seq} for entry in entries)
                assert all(shard_of(entry.event.id, 4) == shard for entry in entries)
            records = store.records([f"user:{n}" for n in range(7)]).records
            assert sum(len(record.tail) for record in records) == 60


class TestDurability:
    def test_the_embedded_server_is_durable(self, store: Store) -> None:
        """The server that we start ourselves is accepted, and says its run."""
        server = store.require_durable()

        assert (server.append_only, server.appendfsync, server.eviction) == (True, "always", "noeviction")
        assert len(server.run_id) == 40

    @pytest.mark.parametrize(
        ("setting", "value", "remedy"),
        [
            ("appendfsync", "everysec", "appendfsync always"),
            ("appendfsync", "no", "appendfsync always"),
            ("maxmemory-policy", "allkeys-lru", "maxmemory-policy noeviction"),
            ("maxmemory-policy", "volatile-ttl", "maxmemory-policy noeviction"),
        ],
    )
    def test_a_server_that_may_lose_events_is_refused(
        self, own_server: EmbeddedRedis, setting: str, value: str, remedy: str
    ) -> None:
        """The refusal names the setting, its value and what to set it to."""
        with redis.Redis.from_url(own_server.url) as client:
            client.config_set(setting, value)
        with Store(own_server.url) as store, pytest.raises(NotDurable, match=remedy) as refused:
            store.require_durable()
        assert f"{setting} is {value}" in str(refused.value)

    def test_a_server_without_a_file_is_refused(self, tmp_path: Path) -> None:
        """Without an append-only file a restart loses all."""
        with (
            EmbeddedRedis(tmp_path, settings={"appendonly": "no"}) as server,
            Store(server.url) as store,
            pytest.raises(NotDurable, match="appendonly yes"),
        ):
            store.require_durable("everysec")

    def test_everysec_is_enough_when_asked_for(self, own_server: EmbeddedRedis) -> None:
        """An operator who accepts to lose a second says so; `no` is never enough."""
        with redis.Redis.from_url(own_server.url) as client, Store(own_server.url) as store:
            client.config_set("appendfsync", "everysec")
            assert store.require_durable("everysec").appendfsync == "everysec"
            client.config_set("appendfsync", "no")
            with pytest.raises(NotDurable, match="appendfsync everysec"):
                store.require_durable("everysec")

    def test_a_server_that_keeps_its_settings_to_itself(self, own_server: EmbeddedRedis) -> None:
        """INFO is enough where CONFIG is not allowed, as with hosted servers."""
        with redis.Redis.from_url(own_server.url) as client, Store(own_server.url) as store:
            client.execute_command("ACL", "SETUSER", "default", "-config")
            assert store.require_durable().appendfsync is None


class TestAddresses:
    def test_database_and_password_are_honoured(self, tmp_path: Path) -> None:
        """The URL's password and database are used by both shells."""
        with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", "tiny", "on", ">se cret", "~*", "+@all")
            url = f"redis://tiny:se%20cret@127.0.0.1:{server.port}/3"
            with Store(url, shards=1) as store:
                ready(store).ingest([arrival("e1")], projection=0)

                async def work(opened: AsyncStore) -> Any:
                    return (await opened.ingest([arrival("e1")], projection=0)).outcomes

                assert in_loop(store, url, work) == [Outcome(1, duplicate=True)]
            assert client.dbsize() == 0

            wrong = url.replace("se%20cret", "guess")

            async def refused() -> None:
                async with AsyncStore(wrong, 1) as opened:
                    with pytest.raises(NotAdmitted, match=r"WRONGPASS.* correct the password"):
                        await opened.now_ms()

            asyncio.run(refused())
            with pytest.raises(NotAdmitted, match=r"WRONGPASS.* correct the password"), Store(wrong, 1) as store:
                store.now_ms()

    def test_a_unix_socket_is_an_address(self, tmp_path: Path) -> None:
        """A server on the same machine may be reached by its socket."""
        socket = tmp_path / "s"
        with EmbeddedRedis(tmp_path / "redis", settings={"unixsocket": str(socket)}):
            url = f"unix://{socket}"
            with Store(url, shards=1) as store:
                assert store.now_ms() > 0

                async def work(opened: AsyncStore) -> Any:
                    return await opened.now_ms()

                assert in_loop(store, url, work) > 0


def test_a_lease_goes_to_who_asked_to_be_next(redis_url: str) -> None:
    """A holder that gives way hands it over; one that has work to finish keeps it until then; one that shares it does
    not take it away."""
    with Store(redis_url) as store:
        assert store.hold_lease("work", "old", 60_000, "gives way")
        assert not store.hold_lease("work", "new", 60_000, "next")
        assert store.hold_lease("work", "old", 60_000)
        assert not store.hold_lease("work", "old", 60_000, "joins")
        assert not store.hold_lease("work", "new", 60_000, "next")
        assert not store.hold_lease("work", "old", 60_000, "gives way")
        assert not store.hold_lease("work", "third", 60_000, "gives way")
        assert store.hold_lease("work", "new", 60_000, "next")
        assert store.release_lease("work", "new")
        assert store.hold_lease("work", "old", 60_000, "gives way")
