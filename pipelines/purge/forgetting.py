"""The names of who is gone, out of Redis: records, lists of members, drained entries of logs, refused events, and
rebuilds that are asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import structs

from expressions.rules.deletes import tombstone_id
from expressions.rules.repeats import REPEAT_MS
from pipelines.purge.deleted import Deleted
from serving.runs import decoded, encode
from serving.store.operations.links import Claim
from serving.store.scripts.claim import Owner
from serving.store.store import Store

#: A purged tombstone stays in Redis for as long as a retry of what it covers may come, and an hour more.
GONE_MS = REPEAT_MS + 3_600_000


def forget(store: Store, deleted: Deleted) -> int:
    """Takes the names out of Redis; returns how many records went."""
    buried, cursor = 0, 0
    seqs = dict(deleted.deletes.select("id", "deleted_seq").iter_rows())
    while seqs:
        cursor, records = store.scan_records(cursor)
        ids = [id for _, id in records]
        gone = _gone(deleted, seqs, ids)
        for owner, members in store.members(ids).items():
            # A gone owner's members are all looked at: each was claimed since, or its claim was never made.
            _unlist(store, owner, list(members if owner in gone else _gone(deleted, seqs, members)))
        buried += store.bury(gone)
        if cursor == 0:
            break
    for state in store.shard_states():
        store.clean_log(state.shard, state.drained)
    store.clean_rejected("0-0")
    store.drop_refused()
    store.drop_analyses()
    for text, run in decoded(store.asked_runs()):
        gone = _gone(deleted, seqs, run.ids or [])
        if gone:
            store.ask_run(encode(structs.replace(run, ids=[id for id in run.ids or [] if id not in gone])))
            store.answer_runs([text])
    store.forget_gone(store.now_ms() - GONE_MS)
    return buried


def _gone(deleted: Deleted, seqs: Mapping[str, int], ids: Collection[str]) -> dict[str, int]:
    """id -> seq of its last delete, named or purged, for those of some ids that did not come back."""
    last = {id: max(seqs.get(id, 0), seqs.get(tombstone_id(id), 0)) for id in ids if id not in deleted.returned}
    return {id: seq for id, seq in last.items() if seq}


def _unlist(store: Store, owner: str, ids: list[str]) -> None:
    """Takes ids off an owner's list of members, but for ids that are the owner's: they were claimed since."""
    owners = store.owners(ids)
    past = [Claim(id, owner, "") for id, recorded in zip(ids, owners, strict=True) if not _is_of(recorded, owner)]
    if past:
        store.drop_members(past)
        owners = store.owners([claim.id for claim in past])
        store.add_members([claim for claim, recorded in zip(past, owners, strict=True) if _is_of(recorded, owner)])


def _is_of(recorded: Owner | None, owner: str) -> bool:
    return recorded is not None and recorded.id == owner
