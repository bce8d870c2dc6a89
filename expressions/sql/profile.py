"""Profile attributes: for every key that a definition reads, the newest value of each id (S8).

1. `identified`     id, ts; for each key has_KEY, and a column for each kind of each field that is read: one row an
                    identify by now
2. `KEY_ranked`     id, the columns of the key, place: one row an identify that has the key. The newest has place 1; at
                    one instant the greatest value comes first, and null last
3. `profile_KEY`    id, the columns of the key: one row an id

A field is the value of the key itself, or a value inside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from ..rules.dtypes import KINDS, Kind
from ..rules.properties import attribute_name
from .cells import Cell, Sql, all_of, by, case, column, place, sort_keys, text, whole
from .engines import Engine
from .selects import cross_join, select
from .steps import Names


@dataclass
class Profile:
    """The attributes that a query reads: key -> name of the field -> kind -> column."""

    engine: Engine
    names: Names
    keys: dict[str, dict[str, dict[Kind, str]]] = field(default_factory=dict)

    def cell(self, key: str, path: tuple[str, ...]) -> Cell:
        """The attribute of the id at hand, or the value inside it at the path. An object reads as null."""
        fields = self.keys.setdefault(key, {})
        for name in (attribute_name(key), attribute_name(key, path)):
            if name not in fields:
                fields[name] = {kind: self.names.fresh(f"{name}_{kind}") for kind in self.engine.field(name)}
        kinds: dict[Kind, Sql] = {kind: column(added) for kind, added in fields[name].items()}
        kinds["list"] = case((_starts(kinds["list"], "["), kinds["list"]))
        return Cell({kind: kinds[kind] for kind in KINDS if kind in kinds})

    def ctes(self) -> tuple[dict[str, exp.Query], dict[str, list[str]]]:
        """The CTEs over `once` and `clock`, and the columns of each CTE that is joined to the ids."""
        by_now = [column("kind").eq(text("identify")), column("ts") <= column("now_ms")]
        identified = select("once", "id", "ts", where=all_of(by_now))
        cross_join(identified, "clock")
        ctes: dict[str, exp.Query] = {}
        joined: dict[str, list[str]] = {}
        for key, fields in self.keys.items():
            has, ranked, newest = (self.names.fresh(wish) for wish in (f"has_{key}", f"{key}_ranked", f"profile_{key}"))
            columns = [added for kinds in fields.values() for added in kinds.values()]
            values = [self.engine.field(name)[kind] for name, kinds in fields.items() for kind in kinds]
            identified.select(
                exp.alias_(self.engine.has(attribute_name(key)), has),
                *(exp.alias_(value, added) for value, added in zip(values, columns, strict=True)),
                copy=False,
            )
            newest_first = place(_newest_first(fields[attribute_name(key)]))
            ctes[ranked] = select("identified", "id", *columns, newest_first, where=column(has))
            ctes[newest] = select(ranked, "id", *columns, where=column("place").eq(whole(1)))
            joined[newest] = columns
        return ({"identified": identified, **ctes} if ctes else {}), joined


def _starts(json: Sql, bracket: str) -> Sql:
    """Whether a JSON text begins with a bracket: "[" for a list, "{" for an object."""
    return exp.Left(this=json.copy(), expression=whole(1)).eq(text(bracket))


def _newest_first(columns: dict[Kind, str]) -> list[exp.Ordered]:
    """The order of `properties.attribute_recency`, the greatest first."""
    kinds: dict[Kind, Sql] = {kind: column(name) for kind, name in columns.items()}
    json = kinds["list"]
    is_object = case((_starts(json, "{"), whole(1)), otherwise=whole(0))
    return [by(column("ts"), True), by(is_object, True), *sort_keys(kinds, descending=True)]
