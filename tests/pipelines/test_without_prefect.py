"""While Prefect's server is away the worker's flows do their work all the same, without a record of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, Settings, temporary_settings

from cli.doctor import examine, report_text
from cli.stack_parts import PREFECT_DAYS, plan_stack, prefect_environment
from pipelines.heartbeat import beat
from pipelines.prefect_flows import PrefectFlows
from serving.settings import Settings as StackSettings
from tests.pipelines.world import World, purchase
from tests.waiting import wait_until


def test_work_is_done_while_prefect_is_away(redis_url: str, tmp_path: Path) -> None:
    """A rebuild of everybody, one of some ids, a purge and maintenance are done while Prefect's server is away."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.ingest([purchase("ann", 1)])
    world.drain().step()
    world.define("trait", {"orders": "events.purchase.count"})
    nowhere = {PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_HOME: tmp_path / "prefect"}
    with temporary_settings(nowhere), PrefectFlows(world.store, world.lake, world.settings) as flows:
        flows.serve(True)
        rebuild, purge, maintain, orders = flows.work

        assert rebuild(None).users == 1
        assert world.values("ann") == {"orders": 1}
        world.ingest([purchase("ann", 2)])
        world.drain().step()
        assert rebuild(["user:ann"]).events == 2
        assert purge()["gone"] == 0
        assert "events" in maintain()
        report = wait_until(lambda: "ConnectError" in str(orders.report()) and orders.report(), "Prefect is away")
        assert report == {"clock": "worker", "answers": False, "because": "ConnectError", "unrecorded": 4}
    beat(world.store, "worker", "this", {"schedules": report}, 60_000, is_holder=True)
    text = report_text(examine(world.store, world.lake, world.settings, 1))
    assert "the worker's clock: Prefect does not answer (ConnectError)" in text


def test_a_server_of_your_own_is_used_instead(monkeypatch: pytest.MonkeyPatch, redis_url: str, tmp_path: Path) -> None:
    """`tinycdp up` starts Prefect's server, unless the environment names one, which the worker is told of then."""
    settings = StackSettings(home=tmp_path, port=0, prefect_port=0, redis_url=redis_url)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    ours = plan_stack(settings, tmp_path, with_prefect=True)
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    theirs, none = (plan_stack(settings, tmp_path, with_prefect) for with_prefect in (True, False))

    assert ["prefect" in {part.name for part in plan.parts} for plan in (ours, theirs, none)] == [True, False, False]
    assert ours.environment["PREFECT_API_URL"] == f"{ours.addresses['prefect_url']}/api"
    assert theirs.environment["PREFECT_API_URL"] == "https://prefect.example/api"
    assert [plan.environment["TINYCDP_PREFECT"] for plan in (ours, theirs, none)] == ["true", "true", "false"]


def test_prefect_forgets_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Prefect's server, as `tinycdp up` starts it, drops old runs and events by itself."""
    for name, value in prefect_environment(tmp_path, "http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)

    vacuum = Settings().server.services.db_vacuum

    assert vacuum.enabled_vacuum_types >= {"events", "flow_runs"}
    assert vacuum.retention_period == timedelta(days=PREFECT_DAYS)
