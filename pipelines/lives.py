"""Whether a log and the lake tell of one life: no seq stands for two events.

They do not when Redis came back from before seqs that were given out again, or when two stacks with a Redis each write
one lake. Leases cannot tell of the second, since they are in Redis; what the other one committed can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from expressions.rules.deletes import tombstone_id
from lake.errors import LakeError
from lake.lake import Lake
from serving.store.operations.shards import ShardState
from serving.store.store import Store

#: Entries of a log that are compared with the lake at once: 16 MiB of the largest.
COMPARED_AT_ONCE = 512


class SharedLake(LakeError):
    """Another stack, with a Redis of its own, writes this lake."""


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
