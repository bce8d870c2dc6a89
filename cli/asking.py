"""What a person asks from the command line: who, why, and as SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.tree import Tree

from expressions.counting import counted
from expressions.definitions import DefinitionKind
from expressions.explain import explained
from expressions.frames import answer_frame, users_where
from expressions.identity import people
from expressions.to_sql import to_sql
from expressions.to_state import Key
from lake.lake import Lake
from serving.catalogue import Catalogue
from serving.defining import current
from serving.identity import gathered
from serving.ids import record_of
from serving.profile import Bases, Person, person
from serving.refusals import NotFound
from serving.store import Store


def key_of(catalogue: Catalogue, key: str) -> Key:
    """The definition that a bare key names: a trait before a segment before a flag; `segment:key` says which."""
    kinds: tuple[DefinitionKind, ...] = ("trait", "segment", "flag")
    wanted: list[Key] = [(kind, key.removeprefix(f"{kind}:")) for kind in kinds if key.startswith(f"{kind}:")]
    wanted = wanted or [(kind, key) for kind in kinds]
    for one in wanted:
        if one in catalogue.definitions:
            return one
    raise NotFound(f"no trait, segment or flag has the key {key}")


def users_having(store: Store, lake: Lake, key: str, at_ms: int) -> list[str]:
    """User ids, sorted, for whom a definition holds (S4) at an instant, from all rows now in the lake.

    Ids of other kinds keep their prefix: `anon:…`.
    """
    catalogue = current(store)
    chosen = key_of(catalogue, key)
    events = people(counted(lake.events(lake.events_version())))
    found = users_where(answer_frame(events, [catalogue.bounds[chosen]], at_ms, catalogue.zone), chosen)
    return [one.removeprefix("user:") for one in found.get_column("id").to_list()]


def live_person(store: Store, user: str) -> Person:
    """A user as the API sees them now."""
    catalogue = current(store)
    return person(store.follow(gathered(store.operations, record_of(user))), catalogue, Bases())


def explanation(store: Store, user: str, key: str) -> dict[str, Any]:
    """The tree of a definition for a user, with what the answer rests on."""
    who = live_person(store, user)
    chosen = key_of(who.catalogue, key)
    answers = who.answers([chosen])
    return {
        "user": user,
        "now": who.now_ms,
        "exact": answers.exact,
        "warming": bool(answers.warming),
        "explanation": explained(who.catalogue.bounds, chosen, who.frame),
        "asof": answers.asof,
    }


def tree_of(body: dict[str, Any]) -> Tree:
    """An explanation for people."""
    root = body["explanation"]
    marks = [mark for mark, holds in (("warming", body["warming"]), ("not exact", not body["exact"])) if holds]
    heading = f"{body['user']}: {root['kind']} {root['key']}" + (f" ({', '.join(marks)})" if marks else "")
    tree = Tree(heading)
    _grow(tree, root)
    return tree


def _grow(tree: Tree, node: dict[str, Any]) -> None:
    line = f"{node['text']}  =  {node['value']!r}"
    if "changes_at" in node:
        at = datetime.fromtimestamp(node["changes_at"] / 1000, UTC).isoformat(timespec="milliseconds")
        line += f"   changes at {at.replace('+00:00', 'Z')} unless something happens"
    branch = tree.add(line.replace("[", "\\["))
    if "definition" in node:
        _grow(branch, node["definition"])
    for part in node.get("parts", ()):
        _grow(branch, part)


def sql_of(store: Store, key: str, dialect: str, at_ms: int | None) -> dict[str, Any]:
    """A definition as SQL, and which one it is. Raises `ValueError` for another dialect."""
    catalogue = current(store)
    chosen = key_of(catalogue, key)
    text = to_sql(catalogue.bounds[chosen], dialect, at_ms, catalogue.zone)
    return {"kind": chosen[0], "key": chosen[1], "dialect": dialect, "at": at_ms, "sql": text}
