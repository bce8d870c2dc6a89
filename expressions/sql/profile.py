"""Profile attributes: for every key a definition reads, the newest value of each id (S8).

identified     the identify calls by now, and whether each has the key
KEY_ranked     those that have it, the newest first; of one instant the greatest value, null the least
profile_KEY    the first of them, with the fields read inside its value
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from ..rules.dtypes import KINDS, Kind
from ..rules.properties import attribute_name
from .cells import Cell, Sql, by, case, column, in_order, text, whole
from .engines import Engine
from .steps import Names


@dataclass
class Profile:
    """The attributes that a query reads: key -> name among the fields -> kind -> column."""

    engine: Engine
    names: Names
    keys: dict[str, dict[str, dict[Kind, str]]] = field(default_factory=dict)

    def cell(self, key: str, path: tuple[str, ...]) -> Cell:
        """The attribute of the id at hand, or what is inside its value at the path; an object reads as null."""
        fields = self.keys.setdefault(key, {})
        for name in (attribute_name(key), attribute_name(key, path)):
            if name not in fields:
                fields[name] = {kind: self.names.fresh(f"{name}_{kind}") for kind in self.engine.field(name)}
        kinds: dict[Kind, Sql] = {kind: column(known) for kind, known in fields[name].items()}
        kinds["list"] = case((_starts(kinds["list"], "["), kinds["list"]))
        return Cell({kind: kinds[kind] for kind in KINDS if kind in kinds})

    def ctes(self) -> tuple[dict[str, exp.Query], dict[str, list[str]]]:
        """The CTEs over `once` and `clock`, and for each that is joined to the ids its columns."""
        identified = exp.select("id", "ts").from_("once").join("clock", join_type="cross")
        identified = identified.where(column("kind").eq(text("identify")), column("ts") <= column("now_ms"))
        ctes: dict[str, exp.Query] = {}
        joined: dict[str, list[str]] = {}
        for key, fields in self.keys.items():
            has, ranked, newest = (self.names.fresh(wish) for wish in (f"has_{key}", f"{key}_ranked", f"profile_{key}"))
            columns = [known for kinds in fields.values() for known in kinds.values()]
            read = [self.engine.field(name)[kind] for name, kinds in fields.items() for kind in kinds]
            identified = identified.select(
                exp.alias_(self.engine.has(attribute_name(key)), has),
                *(exp.alias_(value, known) for value, known in zip(read, columns, strict=True)),
            )
            order = exp.Order(expressions=_newest(fields[attribute_name(key)]))
            place = exp.Window(this=exp.RowNumber(), partition_by=[column("id")], order=order)
            ctes[ranked] = exp.select("id", *columns, exp.alias_(place, "place")).from_("identified").where(column(has))
            ctes[newest] = exp.select("id", *columns).from_(ranked).where(column("place").eq(whole(1)))
            joined[newest] = columns
        return ({"identified": identified, **ctes} if ctes else {}), joined


def _starts(json: Sql, bracket: str) -> Sql:
    """Of the JSON text of a list or an object: whether it is the one of this bracket."""
    return exp.Left(this=json.copy(), expression=whole(1)).eq(text(bracket))


def _newest(columns: dict[Kind, str]) -> list[exp.Ordered]:
    kinds: dict[Kind, Sql] = {kind: column(name) for kind, name in columns.items()}
    json = kinds["list"]
    is_object = case((_starts(json, "{"), whole(1)), otherwise=whole(0))
    return [by(column("ts"), True), by(is_object, True), *in_order(kinds, descending=True)]
