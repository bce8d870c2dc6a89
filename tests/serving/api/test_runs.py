"""Runs of the worker: asked for by the API, listed, and never done twice or lost by a worker that ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.work import plain_work
from pipelines.worker import Worker
from serving import runs
from serving.runs import AskedRun, RunNote, encode, runs_of
from serving.store.operations.runs import ASKED_MAX
from tests.pipelines.world import World, purchase
from tests.running import RunningStack
from tests.serving.local_api import answers
from tests.waiting import wait_until


def listed(stack: RunningStack, **query: Any) -> list[dict[str, Any]]:
    """A page of runs."""
    answer = stack.call("GET", "/v1/admin/runs", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["runs"]
    return found


def ended(stack: RunningStack, run_id: str) -> dict[str, Any]:
    """A run, once it has ended."""

    def find() -> dict[str, Any] | None:
        run = next(run for run in listed(stack) if run["id"] == run_id)
        return run if run["ended_at"] is not None else None

    found: dict[str, Any] = wait_until(find, "the run has ended")
    return found


@pytest.mark.xdist_group("stack")
def test_a_rebuild_is_asked_for_and_followed(stack: RunningStack) -> None:
    """A rebuild of everybody, one of some ids and one as of a time each answer the id of a run, which says what came of
    it, who asked and how long it took. The newest comes first."""
    key = stack.call("POST", "/v1/admin/keys", json={"kind": "admin", "label": "rn ada"}).json()["key"]
    stack.track("rn-1", "rn_e")
    assert stack.call("GET", "/v1/admin/users/rn-1/data").json()["total"] == 1  # which waits for the drain

    def ask(**body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        asked = stack.http.post("/v1/admin/rebuild", json=body, headers=headers)
        assert asked.status_code == 200, asked.text
        return ended(stack, asked.json()["id"])

    full, single, past = ask(), ask(ids=["rn-1", "anon:rn-2", "rn-1"]), ask(at="2026-01-01T00:00:00Z")

    assert [run["state"] for run in (full, single, past)] == ["done"] * 3, (full, single, past)
    assert [run["work"] for run in (full, single, past)] == ["rebuild", "rebuild of ids", "rebuild as of a time"]
    assert [run["of"] for run in (full, single, past)] == ["everybody", "2 ids", "everybody, as of a time"]
    assert {(run["cause"], run["by"]) for run in (full, single, past)} == {("admin", "rn ada")}
    assert [run["counts"]["kind"] for run in (full, single, past)] == ["full", "ids", "as_of"]
    assert full["counts"]["users"] >= 1 and full["seconds"] >= 0
    assert full["asked_at"] <= full["began_at"] <= full["ended_at"]
    order = [run["id"] for run in listed(stack)]
    assert order.index(past["id"]) < order.index(single["id"]) < order.index(full["id"])
    assert {run["work"] for run in listed(stack, work="rebuild")} == {"rebuild"}
    assert "rn-1" not in stack.call("GET", "/v1/admin/runs").text
    page = stack.call("GET", "/v1/admin/runs", params={"limit": 1, "offset": 1}).json()
    assert ([run["id"] for run in page["runs"]], page["hasMore"]) == (order[1:2], page["total"] > 2)


@pytest.mark.xdist_group("stack")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ids": []}, "ids"),
        ({"ids": [" "]}, "ids[0]"),
        ({"ids": ["a"], "at": "2026-01-01"}, "at"),
        ({"at": "yesterday"}, "at"),
        ({"at": "9000-01-01T00:00:00Z"}, "at"),
        ({"id": ["a"]}, "id"),
        ({"id": ["a"], "when": "2026-01-01"}, "id"),
        ({"ids": ["a"] * 1_001}, "ids"),
    ],
)
def test_a_rebuild_of_nothing_is_refused(stack: RunningStack, body: dict[str, Any], field: str) -> None:
    """The refusal names the field."""
    answer = stack.call("POST", "/v1/admin/rebuild", json=body)

    assert (answer.status_code, answer.json()["details"]["field"]) == (400, field)


@pytest.mark.xdist_group("stack")
def test_an_unknown_field_beside_a_known_one_is_ignored(stack: RunningStack) -> None:
    """As in every body."""
    answer = stack.call("POST", "/v1/admin/rebuild", json={"ids": ["rn-beside"], "why": "to see"})

    assert answer.status_code == 200
    assert ended(stack, answer.json()["id"])["of"] == "1 ids"


def worker_of(world: World, **work: Any) -> Worker:
    """A worker of a world, some of whose work is other."""
    plain = plain_work(world.store, world.lake, world.settings)._asdict()
    return Worker(world.store, world.lake, world.settings, **(plain | work))


def found(world: World, now_ms: int = 2**50) -> dict[str, RunNote]:
    """The runs that are noted, by id, while no worker works."""
    return {run.id: run for run in runs_of(world.store.run_notes(), None, now_ms)}


def ask(world: World, run_id: str, **of: Any) -> None:
    """Asks for a run."""
    world.store.ask_run(encode(AskedRun(run_id, "ada", 1, **of)))


@pytest.mark.deep
def test_a_run_outlives_the_worker_that_began_it(redis_url: str, tmp_path: Path) -> None:
    """A worker dies in the middle of a rebuild: the next one does it after a rest, under the same id, once."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.ingest([purchase("ann", 1)])
    world.drain().step()
    ask(world, "first")

    def dies(ids: Any) -> Any:
        raise SystemExit

    dying = worker_of(world, rebuild=dies)
    with pytest.raises(SystemExit):
        dying.look()
    world.store.release_lease("rebuild", dying.token)  # as it runs out
    assert found(world)["first"].state == "waiting"
    worker = worker_of(world)
    assert not worker.look() and found(world)["first"].state == "waiting"
    wait_until(lambda: worker.look() and found(world)["first"].state == "done", "it is done after its rest")

    run = found(world)["first"]
    assert (run.state, run.counts["users"], run.by) == ("done", 1, "ada")
    assert world.store.asked_runs() == []
    worker.look()
    assert len([note for note in world.store.run_notes() if b"first" in note and b"done" in note]) == 1


def test_a_run_that_fails_says_why_and_is_not_tried_for_ever(redis_url: str, tmp_path: Path) -> None:
    """Its note has the error. It is taken back, so the one behind it is done after the pause."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    ask(world, "of ids", ids=["user:ann"])

    def fails(ids: Any) -> Any:
        raise OSError("the disk is full")

    worker_of(world, rebuild=fails).look()

    run = found(world)["of ids"]
    assert (run.state, run.error, run.of) == ("failed", "the disk is full", "1 ids")
    assert world.store.asked_runs() == []


def test_one_rebuild_serves_all_who_ask_for_everybody(redis_url: str, tmp_path: Path) -> None:
    """Two who asked before it began are both told of the same rebuild; one as of a time comes after it."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest([purchase("ann", 1)])
    world.drain().step()
    for run_id in ("one", "two"):
        ask(world, run_id)
    ask(world, "past", at_ms=5)

    worker = worker_of(world)
    worker.look()

    one, two, past = (found(world)[run_id] for run_id in ("one", "two", "past"))
    assert one.counts == two.counts
    assert (past.state, past.counts["as_of"]) == ("done", 5)
    assert past.counts["build"] > one.counts["build"]


def test_a_run_without_an_end_is_lost_once_the_worker_does_something_else() -> None:
    """While the heartbeat says that it is under way it runs; soon after its begin it is believed to."""
    note = encode(RunNote("a", "purge", "running", began_ms=1_000))

    def state(working_since_ms: int | None, now_ms: int) -> str:
        return runs_of([note], working_since_ms, now_ms)[0].state

    assert (state(1_000, 10**9), state(None, 2_000)) == ("running", "running")
    assert (state(None, 10**9), state(5_000, 10**9)) == ("lost", "lost")


def test_more_runs_than_may_wait_are_refused(redis_url: str, tmp_path: Path) -> None:
    """With a hundred that are asked for and not done the answer is 429, and none is added."""
    world = World(redis_url, tmp_path, shards=2, admin_key="admin")
    world.recover()
    for number in range(ASKED_MAX):
        ask(world, str(number))
    request = httpx.Request("POST", "http://api/v1/admin/rebuild", json={}, headers={"Authorization": "Bearer admin"})

    (answer,) = answers(world.settings, [request])

    assert answer.status_code == 429
    assert len(runs.decoded(world.store.asked_runs())) == ASKED_MAX
