"""`tinycdp doctor`: what runs, whether it is well, and the proof that live answers are those of the lake.

Parity: the live answers of a sample of ids are compared, bit for bit, with those that Polars computes from the lake's
rows up to the same positions of the log, at the same instant.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
import polars as pl
import redis

from cli.health import Servers
from cli.home_rights import open_to_others
from cli.orphans import Orphan, orphans, orphans_text, part_lock
from cli.process_lock import holder
from cli.stack import running_stack
from expressions.batch.counting import counted
from expressions.batch.frames import person_answers, values_of
from expressions.definitions import Key
from expressions.rules.deletes import of_ids
from expressions.rules.values import to_json
from expressions.rules.windows import DAY_MS
from lake.damaged_logs import damage_told
from lake.errors import LakeUnreachable
from lake.lake import Lake
from lake.schemas import RUNS, TABLES
from pipelines.drain import STOPPED
from pipelines.leases import leases
from pipelines.lives import require_own_lake
from serving.definitions.saving import current
from serving.ids import shard_of
from serving.people.gather import gather
from serving.people.person import DecodedBases, Person, person
from serving.presence import FORGOTTEN_MS, ApiProcess, process_of
from serving.settings import Settings
from serving.store.errors import OtherLake
from serving.store.operations.shards import as_in_lake
from serving.store.reserve import REMEDY
from serving.store.scripts.lease import WRITERS
from serving.store.store import Store

#: What to do about a part that does not speak.
SILENT = {
    "drain": "start `tinycdp drain`, or the stack; its log says why it ended",
    "worker": "start `tinycdp worker`, or the stack; its log says why it ended",
    "api": "no API process ever spoke here: start `tinycdp api`, or the stack",
}
#: Paths that others may open, and answers that differ, which a report names.
SHOWN_MAX = 10
#: How long a server may take to answer.
ANSWER_S = 5.0
#: How long writers are waited for before a repair.
PATIENCE_S = 600.0
#: `/metrics` tells of the last comparison for this long.
PARITY_KEPT_MS = 7 * DAY_MS


def examine(store: Store, lake: Lake, settings: Settings, sample: int) -> dict[str, Any]:
    """Everything that doctor looks at, as JSON; `well` is false when any part of it is not.

    Raises `LakeUnreachable`, `OtherLake` where there is no lake and Redis belongs to one, and `LakeDamaged` where the
    settings that are fixed for good cannot be read.
    """
    try:
        lake.reach()  # fails fast: a read would retry for minutes
    except LakeUnreachable:
        require_own_lake(store, lake)  # a Redis in use knows which lake should be here
        raise
    lake.fixed()  # a damaged note of the fixed settings keeps Redis from being recovered
    server = store.server()
    processes = {name: process_of(said) for name, said in store.processes().items()}
    processes = {name: one for name, one in processes.items() if server.clock_ms - one.at_ms <= FORGOTTEN_MS}
    parts = {name: _heartbeat(store, name) for name in ("drain", "worker")}
    servers: dict[str, dict[str, Any] | None] = {**_servers(settings)}
    parts |= servers or {"api": _api_trouble(processes, server.clock_ms)}
    stopped = {int(shard): why for shard, why in (parts["drain"] or {}).get("stopped", {}).items()}
    states = as_in_lake(store.shard_states(), (parts["drain"] or {}).get("stopped_at", {}))
    damaged = damaged_logs(lake)
    missing = missing_files(lake, damaged)
    unreadable = {*damaged, *missing}
    run = None if RUNS.name in unreadable else lake.last_run()
    horizon_left_s = None
    if run is not None:
        horizon_left_s = (run["as_of"] + settings.horizon_ms - server.clock_ms) / 1000
    recovering = [state.shard for state in states if state.ready_run_id != server.run_id]
    left = orphans(settings.home)
    readable = [str(path) for path in open_to_others(settings.home.absolute(), settings.lake_uri)]
    has_password = asks_for_password(settings.redis_url or "")
    is_embedded = is_on_this_home(settings)
    other_lake = _other_lake(store, lake)
    compared, differing = (0, []) if unreadable or other_lake else parity(store, lake, sample)
    result = {"compared": compared, "differing": len(differing), "at": server.clock_ms}
    store.beat("parity", msgspec.json.encode(result), PARITY_KEPT_MS)
    well = (
        not recovering
        and not server.memory.is_full
        and not left
        and not readable
        and (has_password or not is_embedded)
        and not unreadable
        and other_lake is None
        and not differing
        and all(state is not None and "error" not in state for state in parts.values())
        and (horizon_left_s is None or horizon_left_s > 0)
    )
    return {
        "well": well,
        "redis": {
            "version": server.version,
            "memory_used": server.memory_used,
            "memory_full": server.memory.is_full,
            "recovering": recovering,
            "asks_for_password": has_password,
        },
        "parts": parts,
        "api_processes": [
            {"name": name, **msgspec.to_builtins(process), "silent": process.is_silent(server.clock_ms)}
            for name, process in sorted(processes.items())
        ],
        "stopped_shards": stopped,
        "orphans": [asdict(orphan) for orphan in left],
        "open_to_others": readable,
        "other_lake": other_lake,
        "damaged_logs": damaged,
        "missing_files": missing,
        "drain_lag": sum(max(state.seq - state.drained, 0) for state in states),
        "last_build": run,
        "horizon_left_s": horizon_left_s,
        "parity": {"compared": compared, "differing": differing},
    }


def _other_lake(store: Store, lake: Lake) -> str | None:
    """What is wrong where Redis belongs to another lake, with both ids and the remedy; None where it does not."""
    try:
        require_own_lake(store, lake)
    except OtherLake as error:
        return str(error)
    return None


def damaged_logs(lake: Lake) -> dict[str, list[str]]:
    """For each table whose log holds files that are no log, their paths below the lake's root."""
    damaged = {table.name: lake.log_damage(table) for table in TABLES}
    return {name: paths for name, paths in damaged.items() if paths}


def missing_files(lake: Lake, damaged: Collection[str] = ()) -> dict[str, list[str]]:
    """For each table that names files that are gone, their paths below the table. Nothing can be read from it.

    Tables whose log is `damaged` are not asked.
    """
    missing = {table.name: lake.missing_files(table) for table in TABLES if table.name not in damaged}
    return {name: paths for name, paths in missing.items() if paths}


def forget_missing_files(store: Store, lake: Lake) -> dict[str, int]:
    """Takes files that are gone out of their tables, with their rows, and asks for a rebuild; how many, by table.

    Waits for those who write. Raises `NotHeld` when they do not give way in time.
    """
    with leases(store, [WRITERS, "drain", "rebuild"], PATIENCE_S):
        repaired = {table.name: lake.forget_missing(table) for table in TABLES if lake.missing_files(table)}
    if repaired:
        store.want_rebuild()
    return repaired


def asks_for_password(url: str) -> bool:
    """Whether a Redis refuses who has no password. One behind a Unix socket is kept by the rights of its file.

    Counts as true where nobody without a password gets an answer at all.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return True
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    try:
        with redis.Redis.from_url(bare, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S) as client:
            client.ping()
    except redis.exceptions.RedisError:
        return True
    return False


def is_on_this_home(settings: Settings) -> bool:
    """Whether the stack that runs on this home has its own Redis, the embedded one."""
    lock = part_lock(settings.home, "redis")
    return running_stack(settings) is not None and lock.exists() and holder(lock) is not None


def _heartbeat(store: Store, name: str) -> dict[str, Any] | None:
    """What a part says of itself; None when it is silent."""
    beat = store.heartbeat(name)
    return None if beat is None else msgspec.json.decode(beat)


def _api_trouble(processes: Mapping[str, ApiProcess], now_ms: int) -> dict[str, Any] | None:
    """What is wrong with the API processes that share this Redis, on whatever machine; None where none ever spoke."""
    silent = sorted(name for name, process in processes.items() if process.is_silent(now_ms))
    if not processes:
        return None
    return {"error": f"silent: {', '.join(silent)}"} if silent else {}


def _servers(settings: Settings) -> dict[str, dict[str, Any]]:
    """The servers of the stack on this home, if one runs here: empty for a server that is well, else its `error`."""
    stack = running_stack(settings)
    if stack is None:
        return {}
    with Servers(stack, settings, ANSWER_S) as servers:
        troubles = servers.troubles()
    return {name: {} if trouble is None else {"error": trouble} for name, trouble in troubles.items()}


def parity(store: Store, lake: Lake, sample: int) -> tuple[int, list[dict[str, Any]]]:
    """How many answers were compared, and those that differ. An id with events not yet drained is left out."""
    catalogue = current(store)
    keys: list[Key] = [key for key in catalogue.definitions if key[0] != "flag"]
    version = lake.events_version()
    seqs = lake.transaction_versions(version, store.shards)
    ids = _sample(store, sample)
    if not ids or not keys:
        return 0, []
    bases = DecodedBases()
    # Several ids of the sample may be one person's: the person is compared once.
    persons = {
        who.reading.records[0].id: who
        for who in (person(store.follow(gather(store.operations, id)), catalogue, bases) for id in ids)
    }
    member_ids = [record.id for who in persons.values() for record in who.reading.records]
    rows = counted(of_ids(lake.events(version), member_ids)).collect()
    compared, differing = 0, []
    for id, who in persons.items():
        records = who.reading.records
        if any(record.last_seq > seqs[shard_of(record.id, store.shards)] for record in records):
            continue
        answers = who.answers(keys)
        own = rows.filter(pl.col("id").is_in([record.id for record in records])).lazy()
        batch = person_answers(own, [catalogue.bounds[key] for key in keys], who.now_ms, catalogue.zone)
        for key in keys:
            if key in answers.warming or not answers.exact:
                continue
            live = answers.values[key].value
            lake_values = values_of(batch, key)
            if id not in lake_values and not any(record.has_events for record in records):
                continue  # imported history that is not published yet, or nothing at all
            compared += 1
            if id not in lake_values or repr(lake_values[id]) != repr(live):  # equal to the bit, and in type
                differing.append(_difference(who, id, key, live, lake_values.get(id)))
    return compared, differing


def _difference(who: Person, id: str, key: Key, live: Any, lake_value: Any) -> dict[str, Any]:
    return {"id": id, "key": key[1], "live": to_json(live), "lake": to_json(lake_value), "now": who.now_ms}


def _sample(store: Store, size: int) -> list[str]:
    """At most `size` ids, sorted, spread over the whole keyspace by the order in which Redis scans it."""
    cursor, ids = 0, []
    while True:
        cursor, records = store.scan_records(cursor)
        ids += [id for _, id in records]
        if cursor == 0 or len(ids) > 50 * size:
            break
    return sorted(random.Random(0).sample(ids, min(size, len(ids))))


def report_text(report: dict[str, Any]) -> str:
    """The report for people."""
    run = report["last_build"]
    lines = [
        f"{'well' if report['well'] else 'NOT WELL'}",
        f"redis        {report['redis']['version']}, {report['redis']['memory_used'] / 2**20:.1f} MiB"
        + (f", memory full: events get 429. {REMEDY}" if report["redis"]["memory_full"] else "")
        + (f", recovering shards {report['redis']['recovering']}" if report["redis"]["recovering"] else ""),
    ]
    if not report["redis"]["asks_for_password"]:
        lines.append(
            "redis        asks for no password, so whoever reaches it reads and changes everything: an embedded one "
            "gets its own when the stack is started anew; give your own one, in TINYCDP_REDIS_URL"
        )
    opened = report["open_to_others"]
    for path in opened[:SHOWN_MAX]:
        lines.append(
            f"home         other users may open {path}: `tinycdp down` and `tinycdp up` close it; what belongs to "
            "another user is theirs to close"
        )
    if len(opened) > SHOWN_MAX:
        lines.append(f"home         and {len(opened) - SHOWN_MAX} more")
    for name, state in report["parts"].items():
        trouble = f"silent: {SILENT[name]}" if state is None else state.get("error")
        lines.append(f"{name:<12} {trouble or 'runs'}")
    for process in report["api_processes"]:
        since = " fell silent: it was killed, or hangs" if process["silent"] else ""
        lines.append(f"  {process['name']} at {process['address']}, release {process['release']}{since}")
    if report["stopped_shards"]:
        lines.append(f"shards       {len(report['stopped_shards'])} stand still: {STOPPED}")
    schedules = (report["parts"].get("worker") or {}).get("schedules", {})
    if "because" in schedules:
        lines.append(f"schedules    the worker's clock: Prefect does not answer ({schedules['because']})")
    if report["orphans"]:
        left = orphans_text([Orphan(**orphan) for orphan in report["orphans"]])
        lines.append(f"orphans      {left}: a killed supervisor left them; end them with `tinycdp down`")
    if report["other_lake"] is not None:
        lines.append(f"lake         {report['other_lake']}")
    for name, paths in report["damaged_logs"].items():
        lines.append(f"lake         {damage_told(name, paths)}")
    for name, paths in report["missing_files"].items():
        lines.append(
            f"lake         {name} names {len(paths)} files that are gone, such as {paths[0]}: it cannot be read. Bring "
            "them back from a backup; if there is none, `tinycdp doctor --repair` takes them out, with their rows"
        )
    lines.append(f"drain lag    {report['drain_lag']} events")
    if run is not None:
        lines.append(f"last build   {run['build']}: {run['users']:,} users, {run['events']:,} events")
        left_s = report["horizon_left_s"]
        late = (
            ""
            if left_s > 0
            else ": no full rebuild since, so values of busy ids are no longer exact. Run `tinycdp rebuild`; if the "
            "worker is silent or failed, repair that first"
        )
        lines.append(f"horizon left {left_s:.0f} s{late}")
    compared, differing = report["parity"]["compared"], report["parity"]["differing"]
    lines.append(f"parity       {len(differing)} of {compared} answers differ")
    lines += [
        f"  {row['id']} {row['key']}: live {row['live']!r}, lake {row['lake']!r}" for row in differing[:SHOWN_MAX]
    ]
    return "\n".join(lines)
