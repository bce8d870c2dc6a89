"""`tinycdp purge`: the purge, and the search that proves that nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from lake.lake import Lake
from pipelines.leases import leases
from pipelines.purge.deleted import deleted_people
from pipelines.purge.naming import Names
from pipelines.purge.purge import purge
from pipelines.purge.purge_now import PATIENCE_S, purge_now
from pipelines.purge.searching import redis_folder, search_everywhere
from serving.ids import record_of
from serving.settings import Settings
from serving.store.store import Store


def purge_and_search(
    store: Store,
    lake: Lake,
    settings: Settings,
    *,
    now: bool,
    redacts: bool,
    ids: Sequence[str],
    on_step: Callable[[str], None],
) -> dict[str, Any]:
    """What was `purged` and what was `searched` for the people who are gone and for `ids`; `clean` when none was found.

    A person whose delete was purged earlier has no name any more that could be searched for: give it as one of `ids`.
    People who came back after their delete are not searched for, since their newer events are kept.
    """
    named = frozenset(map(record_of, ids))
    if now:
        purged, gone = purge_now(store, lake, settings, redacts=named if redacts else None, on_step=on_step)
    else:
        with leases(store, ["rebuild"], PATIENCE_S) as lease:
            gone = deleted_people(lake).gone
            purged = purge(store, lake, on_step=lambda step: lease.require())
    names = Names(gone | named)
    folders = [folder for folder in (settings.home.absolute(), redis_folder(store)) if folder is not None]
    search = search_everywhere(names, store, lake.root, folders)
    return {
        "clean": search.found_count == 0,
        "purged": asdict(purged),
        "searched": asdict(search) | {"places": search.places},
    }


def report_text(report: dict[str, Any]) -> str:
    """The report for people."""
    purged, searched = report["purged"], report["searched"]
    rows = ", ".join(f"{count:,} of {table}" for table, count in purged["rows"].items() if count) or "none"
    lines = [
        f"purged       rows: {rows}; {purged['records']:,} records of Redis, {purged['files']:,} files, "
        f"{purged['exports']:,} exports",
        f"searched     {searched['places']:,} places ({searched['files']:,} files, {searched['keys']:,} keys of Redis, "
        f"{searched['bytes'] / 2**20:,.1f} MiB) for {searched['ids']:,} ids",
    ]
    if purged["flags"] or purged["redacted"]:
        lines.insert(1, f"others       {purged['flags']:,} flags, values in {purged['redacted']:,} rows")
    if purged["returned"]:
        lines.append(f"returned     {purged['returned']:,} ids have something newer than their delete: that is kept")
    if report["clean"]:
        lines.append("found        none of them anywhere")
    else:
        lines.append(f"FOUND        in {searched['found_count']:,} places:")
        lines += [f"  {place}" for place in searched["found"]]
        lines.append("what other people's events say of them goes with --now --redact (docs/deletion.md)")
    return "\n".join(lines)
