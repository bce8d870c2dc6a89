"""Whether a log and the lake tell of one life: no seq stands for two events.

They do not when Redis came back from before seqs that were given out again; when two stacks with a Redis each write one
lake; or when a process is told the Redis of one system and the lake of another. Leases cannot tell of the second, since
they are in Redis; what the other one committed can. Of the third the lake's id tells, which Redis notes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from expressions.rules.deletes import tombstone_id
from lake.errors import LakeBehind, LakeError, LakeUnreachable
from lake.lake import Lake
from serving.store.errors import OtherLake
from serving.store.operations.shards import ShardState
from serving.store.requirements import require_lake
from serving.store.store import Store

#: Entries of a log that are compared with the lake at once: 16 MiB of the largest.
COMPARED_AT_ONCE = 512


class SharedLake(LakeError):
    """Another stack, with a Redis of its own, writes this lake."""


def require_own_lake(store: Store, lake: Lake) -> None:
    """Raises `OtherLake` where Redis belongs to another lake. One that cannot be read now may be the right one."""
    noted = store.noted_lake()
    if noted is not None:
        with suppress(LakeUnreachable):
            require_lake(noted, lake.id_if_there(), lake.root)


def claim_lake(store: Store, lake: Lake) -> None:
    """Notes in Redis that it belongs to this lake, where nobody has noted any. Raises `OtherLake` where it has another.

    A Redis that is in use and has no note is of an older release, so its log must agree with the lake before it is
    noted. Raises `LakeBehind` and `OtherLake` where it does not.
    """
    if store.noted_lake() is None:
        states, version = store.shard_states(), lake.events_version()
        seqs = lake.transaction_versions(version, store.shards)
        if any(state.drained > seqs[state.shard] for state in states):
            raise LakeBehind(
                "Redis was drained into another lake, or into a newer copy of this one. Put that lake back, or name it "
                "(TINYCDP_LAKE_URI); or empty Redis, which is then recovered from this lake, without what came since"
            )
        logged = [state._replace(drained=state.seq - state.entries) for state in states]
        if is_of_another_life(store, lake, version, logged, seqs):
            raise OtherLake(None, lake.id(), lake.root)
        store.note_lake(lake.id())
    require_own_lake(store, lake)


def is_of_another_life(
    store: Store, lake: Lake, version: int, states: Sequence[ShardState], seqs: Sequence[int]
) -> bool:
    """Whether a log has another event than the lake under some seq.

    An old backup may be brought back after its last seqs were lost and given out again. Its drained entries are in the
    lake for good, so only the entries after them are compared; usually there are none.
    """
    for state in states:
        upto = min(state.seq, seqs[state.shard])
        if state.drained < upto:
            rows = lake.shard_rows(state.shard, state.drained, upto, version, ("seq", "id", "event_id"))
            drained = {seq: (id, event_id) for seq, id, event_id in rows.iter_rows()}
            after = state.drained
            while entries := store.read_log(state.shard, after, min(COMPARED_AT_ONCE, upto - after)):
                for entry in entries:
                    # A seq without a row was purged with its person, and a purged tombstone has the hash of its id.
                    own = [(id, entry.event.event_id) for id in (entry.event.id, tombstone_id(entry.event.id))]
                    if entry.seq in drained and drained[entry.seq] not in own:
                        return True
                after = entries[-1].seq
                if after >= upto:
                    break
    return False


def require_own(store: Store, lake: Lake, version: int, committed: Mapping[int, int]) -> None:
    """Raises `SharedLake` where others committed up to these seqs, by shard, what this Redis does not have.

    A drain that shares this Redis commits what is in its logs, so those are never shorter, nor other.
    """
    run_id = store.server().run_id
    states = [state for state in store.shard_states() if state.shard in committed and state.ready_run_id == run_id]
    seqs = [committed.get(shard, 0) for shard in range(store.shards)]
    shorter = [state.shard for state in states if state.seq < seqs[state.shard]]
    if shorter or is_of_another_life(store, lake, version, states, seqs):
        raise SharedLake(
            "another stack with a Redis of its own writes this lake: nothing more is drained here, so that its events "
            "are not lost. Stop the other stack, or give each a lake of its own (TINYCDP_LAKE_URI)"
        )
