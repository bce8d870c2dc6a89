"""The engine's modules, for reading a lake. No other module of the client names `expressions` or `lake`.

In a checkout these are the checkout's own packages. A wheel carries both beside this file, and the build writes `.lake`
here where `lake` stands (`hatch_build.py`): nothing of these names lands in a user's site-packages. So each import is
`from expressions…` or `from lake…` and begins its line.
"""

from expressions.batch.act_times import acts_in_own_time
from expressions.batch.as_of import KNOWN, Known, answers_as_of, known_at, known_events
from expressions.batch.counting import counted_lazily
from expressions.batch.frames import column_of, holding
from expressions.batch.member_frames import linked_persons
from expressions.batch.over_time import (
    TREND_DAYS,
    answers_over_time,
    common_members,
    instants_of_days,
    members_by_instant,
)
from expressions.definitions import Bound, Definition, DefinitionKind, Key
from expressions.errors import ExpressionError, nearest_names
from expressions.plan import plan
from expressions.rules.deletes import ACT_KINDS, GONE, after_deletes
from expressions.rules.dtypes import name as dtype_name
from expressions.rules.dtypes import present
from expressions.rules.identity import with_person
from expressions.rules.ids import record_of
from expressions.rules.persons_over_time import groups, person_spans, persons_at
from expressions.rules.windows import BEGINNING_MS, END_MS, Zone
from expressions.sql.to_sql import to_sql
from expressions.text.bind import bind_one, bind_possible
from expressions.text.dialect import without_unknown_escapes
from lake.errors import LakeError
from lake.grouped_files import GroupedFiles
from lake.read_only import ReadOnlyLake
from lake.row_files import FILES_MAX
from lake.schemas import EVENTS

__all__ = [
    "ACT_KINDS",
    "BEGINNING_MS",
    "END_MS",
    "EVENTS",
    "FILES_MAX",
    "GONE",
    "KNOWN",
    "TREND_DAYS",
    "Bound",
    "Definition",
    "DefinitionKind",
    "ExpressionError",
    "GroupedFiles",
    "Key",
    "Known",
    "LakeError",
    "ReadOnlyLake",
    "Zone",
    "acts_in_own_time",
    "after_deletes",
    "answers_as_of",
    "answers_over_time",
    "bind_one",
    "bind_possible",
    "column_of",
    "common_members",
    "counted_lazily",
    "dtype_name",
    "groups",
    "holding",
    "instants_of_days",
    "known_at",
    "known_events",
    "linked_persons",
    "members_by_instant",
    "nearest_names",
    "person_spans",
    "persons_at",
    "plan",
    "present",
    "record_of",
    "to_sql",
    "with_person",
    "without_unknown_escapes",
]
