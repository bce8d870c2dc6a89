"""The conformance table by the client itself: all cases of a zone in one lake, each person at many instants."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tinycdp._lake.client import LakeClient

from expressions.rules.dtypes import present
from lake.lake import Lake
from tests.conformance.cases import Case
from tests.conformance.test_executions import ANSWERED, expected, to_the_bit
from tests.executions import INSTANTS, bound
from tests.sdk.lake.rows import values_of, write

#: Cases that stand in one lake with others: of one definition, with few events, and whatever the person's own id is.
CASES = [
    case
    for case in ANSWERED
    if len(case.definitions) == 1 and len(case.written) < 50 and "bucket(" not in case.definitions[0][2]
]
#: Definitions of one question: Polars plans hundreds slowly.
AT_ONCE = 40


def parts_of(zone: str) -> list[list[Case]]:
    """The cases of a zone, some at a time."""
    cases = [case for case in CASES if case.zone == zone and len(case.events) < 1_000]
    return [cases[start : start + AT_ONCE] for start in range(0, len(cases), AT_ONCE)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("zone", sorted({case.zone for case in CASES}))
def test_every_case_is_answered_in_one_lake(zone: str, tmp_path: Path) -> None:
    """Each case's person has the case's value at the case's instant, among other people, definitions and instants."""
    lake = Lake(str(tmp_path / "lake"))
    lake.fix({"time_zone": zone})
    for part in parts_of(zone):
        write(lake, [(f"user:{case.id}", event) for case in part for event in case.events])
    cdp = LakeClient(lake.root)
    for part in parts_of(zone):
        labels = pl.DataFrame(
            [(case.id, case.now + shift) for case in part for shift in INSTANTS],
            schema={"id": pl.String, "ts": pl.Int64},
            orient="row",
        )
        known = [case for case in part if case.events]
        extra = {case.id: case.definitions[0][2] for case in part}

        answers = cdp.asof(labels.filter(pl.col("id").is_in([case.id for case in known])), extra=extra)

        # A column has the type of its definition: of no labels it is the same.
        assert answers.frame.schema == cdp.asof(labels.clear(), extra=extra).frame.schema
        for case in known:
            (one,) = bound(("trait", case.id, extra[case.id])).values()
            assert isinstance(answers.frame.schema[case.id], pl.Struct) is (len(present(one.dtype)) > 1), case.id
            rows = answers.frame.filter((pl.col("id") == case.id) & (pl.col("ts") == case.now))
            (value,) = values_of(rows[case.id])
            wanted = expected(case.value)
            if case.key[0] != "trait":  # a rule's truth; as an expression it has its value
                value, wanted = bool(value), bool(wanted)
            assert to_the_bit(value) == to_the_bit(wanted), (case.id, case.says)
