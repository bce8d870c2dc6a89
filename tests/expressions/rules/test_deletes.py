"""Which rows of rebuilds a delete leaves."""

from __future__ import annotations

import polars as pl
import pytest

from expressions.rules.deletes import delete_seqs, undeleted

SHARD = 1


def answers_left(deleted_seq: int | None, seqs: list[int] | None) -> list[str]:
    """The ids whose rows of build 7 are left after a delete of ann, where the rebuild covered these seqs."""
    rows = pl.LazyFrame({"id": ["user:ann", "user:bob"], "build": [7, 7]})
    events = pl.LazyFrame(
        {"id": ["user:ann"], "kind": ["track"], "shard": [SHARD], "seq": [1]}
        if deleted_seq is None
        else {"id": ["user:ann"] * 2, "kind": ["delete"] * 2, "shard": [SHARD] * 2, "seq": [1, deleted_seq]}
    )
    runs = pl.LazyFrame({"build": [7], "seqs": [seqs]} if seqs is not None else {"build": [6], "seqs": [[0, 99]]})
    left = undeleted(rows, delete_seqs(events), runs).collect()
    assert left.columns == ["id", "build"]
    return sorted(left["id"])


@pytest.mark.parametrize(
    ("deleted_seq", "seqs", "is_left"),
    [
        (None, [0, 4], True),  # no delete
        (5, [9, 5], True),  # the rebuild covered the last delete: the rows are of what came after it
        (5, [9, 4], False),
        (5, [9], False),  # the run says nothing of the shard
        (5, None, False),  # the rebuild was cut off before it noted its seqs
    ],
)
def test_rows_of_a_rebuild_go_with_a_delete_that_it_did_not_cover(
    deleted_seq: int | None, seqs: list[int] | None, is_left: bool
) -> None:
    """Rows of a deleted id are left only where the rebuild covered the id's last delete; rows of others always are."""
    assert answers_left(deleted_seq, seqs) == (["user:ann"] if is_left else []) + ["user:bob"]
