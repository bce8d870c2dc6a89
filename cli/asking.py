"""What a person asks from the command line: who, why, and as SQL."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.tree import Tree

from expressions.batch.counting import counted
from expressions.batch.frames import answer_frame, users_where
from expressions.definitions import DefinitionKind, Key
from expressions.live.explain import explained
from expressions.rules.identity import people
from expressions.sql.to_sql import to_sql
from lake.lake import Lake
from serving.api.wire.flags import wire_decision
from serving.definitions.catalogue import Catalogue
from serving.definitions.saving import current
from serving.ids import named_as, record_of
from serving.people.decide import Decider
from serving.people.gather import gather
from serving.people.person import DecodedBases, Person, person
from serving.refusals import NotFound
from serving.store.store import Store
from serving.times import rfc3339


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

    Ids of other kinds have their prefix, `anon:…`, as has a user's that reads like one of those.
    """
    catalogue = current(store)
    chosen = key_of(catalogue, key)
    events = people(counted(lake.events(lake.events_version())))
    found = users_where(answer_frame(events, [catalogue.bounds[chosen]], at_ms, catalogue.zone), chosen)
    return [named_as(one) for one in found.get_column("id").to_list()]


def live_person(store: Store, user: str) -> Person:
    """A user as the API sees them now."""
    catalogue = current(store)
    return person(store.follow(gather(store.operations, record_of(user))), catalogue, DecodedBases())


def explanation(store: Store, user: str, key: str) -> dict[str, Any]:
    """The tree of a definition for a user, with what the answer rests on; of a flag its `decision` and `steps` too."""
    who = live_person(store, user)
    chosen = key_of(who.catalogue, key)
    answers = who.answers([chosen])
    found = {
        "user": user,
        "now": who.now_ms,
        "exact": answers.exact,
        "warming": bool(answers.warming),
        "asof": answers.asof,
    }
    if chosen[0] != "flag":
        return found | {"explanation": explained(who.catalogue.bounds, chosen, who.frame)}
    one = record_of(user)
    device = one if one.startswith("anon:") else None
    decision = Decider(who, device, with_tree=True).decision(chosen[1])
    answer = wire_decision(chosen[1], user, decision)  # a rule that says yes is one step of several
    return found | {"explanation": answer.pop("explanation"), "decision": answer}


def tree_of(body: dict[str, Any]) -> Tree:
    """An explanation for people."""
    root = body["explanation"]
    marks = [mark for mark, holds in (("warming", body["warming"]), ("not exact", not body["exact"])) if holds]
    heading = f"{body['user']}: {root['kind']} {root['key']}" + (f" ({', '.join(marks)})" if marks else "")
    tree = Tree(heading)
    decision = body.get("decision")
    if decision is not None:
        said = tree.add(escape(f"{'yes' if decision['allow'] else 'no'}, {decision['reason']}"))
        for reason in decision["reasons"]:
            said.add(escape(reason))
    _grow(tree, root)
    return tree


def _grow(tree: Tree, node: dict[str, Any]) -> None:
    line = node["text"]
    if "value" in node:  # the rule of a flag that decides before it has none
        line += f"  =  {node['value']!r}"
    if "changes_at" in node:
        line += f"   changes at {rfc3339(node['changes_at'])} unless something happens"
    branch = tree.add(escape(line))
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
