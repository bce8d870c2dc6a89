"""What runs and whether it is well; and the proof that live answers are those of the lake.

Parity: for a sample of ids every live answer is compared, bit for bit, with one computed by Polars from the lake's rows
up to the very same positions, at the same instant.
"""

from __future__ import annotations

import random
from typing import Any

import httpx
import msgspec
import polars as pl

from cli.up import running_stack
from expressions.batch.counting import counted
from expressions.batch.frames import answer_frame, values_of
from expressions.definitions import Key
from expressions.rules.deletes import of_ids
from expressions.rules.identity import people
from expressions.rules.values import to_json
from expressions.rules.windows import DAY_MS
from lake.lake import Lake
from serving.definitions.saving import current
from serving.ids import shard_of
from serving.people.gather import gather
from serving.people.person import DecodedBases, Person, person
from serving.settings import Settings
from serving.store.store import Store

#: How long a server may take to answer.
ANSWER_S = 5.0
#: So long `/metrics` tells what the last comparison found.
PARITY_KEPT_MS = 7 * DAY_MS


def examined(store: Store, lake: Lake, settings: Settings, sample: int) -> dict[str, Any]:
    """Everything that doctor looks at, as JSON; `well` is false when any part is not."""
    lake.reach()  # which is soon known, while who reads it would try for minutes
    server = store.server()
    states = store.shard_states()
    parts = {name: _said(store.heartbeat(name)) for name in ("drain", "worker")} | _answering(settings)
    run = lake.last_run()
    horizon_left_s = None
    if run is not None:
        horizon_left_s = (run["as_of"] + settings.horizon_ms - server.clock_ms) / 1000
    recovering = [state.shard for state in states if state.ready_run_id != server.run_id]
    compared, differing = parity(store, lake, sample)
    said = {"compared": compared, "differing": len(differing), "at": server.clock_ms}
    store.beat("parity", msgspec.json.encode(said), PARITY_KEPT_MS)
    well = (
        not recovering
        and not differing
        and all(said is not None and "error" not in said for said in parts.values())
        and (horizon_left_s is None or horizon_left_s > 0)
    )
    return {
        "well": well,
        "redis": {"version": server.version, "memory_used": server.memory_used, "recovering": recovering},
        "parts": parts,
        "drain_lag": sum(max(state.seq - state.drained, 0) for state in states),
        "last_build": run,
        "horizon_left_s": horizon_left_s,
        "parity": {"compared": compared, "differing": differing},
    }


def _answering(settings: Settings) -> dict[str, dict[str, Any]]:
    """The servers of the stack on this home, if one runs here: nothing of a server that is well, else what is wrong."""
    stack = running_stack(settings)
    if stack is None:
        return {}
    urls = {"api": f"{stack.api_url}/health", "prefect": f"{stack.prefect_url}/api/health"}
    found: dict[str, dict[str, Any]] = {}
    for name, url in urls.items():
        if name == "prefect" and stack.prefect_url is None:
            continue
        try:
            answer = httpx.get(url, timeout=ANSWER_S)
            found[name] = {} if answer.is_success else {"error": f"answers {answer.status_code}"}
        except httpx.TransportError as error:
            found[name] = {"error": f"does not answer: {error}"}
    return found


def _said(beat: bytes | None) -> dict[str, Any] | None:
    return None if beat is None else msgspec.json.decode(beat)


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
    whole = [person(store.follow(gather(store.operations, one)), catalogue, bases) for one in ids]
    found = list({who.reading.records[0].id: who for who in whole}.values())  # several ids may be one person's
    wanted = [record.id for who in found for record in who.reading.records]
    rows = counted(of_ids(lake.events(version), wanted)).collect()
    compared, differing = 0, []
    for who in found:
        records = who.reading.records
        one = records[0].id
        if any(record.last_seq > seqs[shard_of(record.id, store.shards)] for record in records):
            continue
        answers = who.answers(keys)
        own = people(rows.filter(pl.col("id").is_in([record.id for record in records])).lazy())
        batch = answer_frame(own, [catalogue.bounds[key] for key in keys], who.now_ms, catalogue.zone)
        for key in keys:
            if key in answers.warming or not answers.exact:
                continue
            live = answers.values[key].value
            held = values_of(batch, key)
            if one not in held and not any(record.has_events for record in records):
                continue  # imported history that is not published yet, or nothing at all
            compared += 1
            if one not in held or repr(held[one]) != repr(live):  # equal to the bit, and in type
                differing.append(_difference(who, one, key, live, held.get(one)))
    return compared, differing


def _difference(who: Person, one: str, key: Key, live: Any, lake_value: Any) -> dict[str, Any]:
    return {"id": one, "key": key[1], "live": to_json(live), "lake": to_json(lake_value), "now": who.now_ms}


def _sample(store: Store, most: int) -> list[str]:
    """Some ids, spread over the whole keyspace by the order in which Redis scans it."""
    cursor, found = 0, []
    while True:
        cursor, some = store.scan_records(cursor)
        found += [one for _, one in some]
        if cursor == 0 or len(found) > 50 * most:
            break
    chosen = random.Random(0).sample(found, min(most, len(found)))
    return sorted(chosen)


def shown(found: dict[str, Any]) -> str:
    """What was found, for people."""
    run = found["last_build"]
    lines = [
        f"{'well' if found['well'] else 'NOT WELL'}",
        f"redis        {found['redis']['version']}, {found['redis']['memory_used'] / 2**20:.1f} MiB"
        + (f", recovering shards {found['redis']['recovering']}" if found["redis"]["recovering"] else ""),
    ]
    for name, said in found["parts"].items():
        lines.append(f"{name:<12} {'silent' if said is None else said.get('error') or 'runs'}")
    lines.append(f"drain lag    {found['drain_lag']} events")
    if run is not None:
        lines.append(f"last build   {run['build']}: {run['users']:,} users, {run['events']:,} events")
        lines.append(f"horizon left {found['horizon_left_s']:.0f} s")
    compared, differing = found["parity"]["compared"], found["parity"]["differing"]
    lines.append(f"parity       {len(differing)} of {compared} answers differ")
    lines += [f"  {one['id']} {one['key']}: live {one['live']!r}, lake {one['lake']!r}" for one in differing[:10]]
    return "\n".join(lines)
